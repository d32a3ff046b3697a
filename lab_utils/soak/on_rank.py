"""Functions that the soak runs on ranks. The notebook imports them too, so torch is imported inside functions only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import nullcontext

from lab_utils.ranks.shipping.picklers import rank_namespace
from lab_utils.soak.diary import Diary
from lab_utils.soak.faults import STEPS, Fault
from lab_utils.soak.planted import Planted

_TOKEN = "soak_token"


def play(program: str, fault: Fault | None = None, beacon: int = 0, folder: str = "") -> list[tuple[float, float]]:
    """Run a program with a fault in it; return the sums of its steps.

    beacon  port to which the fault's time is sent
    folder  where a program with a diary writes it, and its checkpoint
    """
    import torch.distributed as dist

    from lab_utils.soak import programs, training_script

    planted = Planted(fault, dist.get_rank(), beacon)
    for_ever = fault is not None and fault.kind == "interrupt"
    steps = itertools.count() if for_ever else range(STEPS)
    with Diary(folder, dist.get_rank()) if folder else nullcontext() as diary:
        if folder:
            sums = training_script.train(planted, steps, diary)
        else:
            sums = getattr(programs, program)(planted, steps)
        planted.finish()
    return sums


def agree() -> tuple[float, str | None]:
    """Return the all-reduced sum of all rank numbers, and this rank's token: the check that ranks are usable."""
    import torch
    import torch.distributed as dist

    total = torch.tensor(float(dist.get_rank()))
    dist.all_reduce(total)
    return total.item(), rank_namespace().get(_TOKEN)


def hold(tokens: Sequence[str]) -> None:
    """Store this rank's token in the rank's namespace, as a user's variable."""
    import torch.distributed as dist

    rank_namespace()[_TOKEN] = tokens[dist.get_rank()]
