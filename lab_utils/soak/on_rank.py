"""What the soak asks of the ranks. The notebook's side imports it too, so torch is imported inside functions only."""

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
    """Run a program with a fault in it; the sums of its steps.

    beacon  the port where the fault's moment is told
    folder  where a program with a diary has that, and what it saves
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
    """What every rank must be able to do after whatever happened: the sum of all ranks, and the rank's own token."""
    import torch
    import torch.distributed as dist

    total = torch.tensor(float(dist.get_rank()))
    dist.all_reduce(total)
    return total.item(), rank_namespace().get(_TOKEN)


def hold(tokens: Sequence[str]) -> None:
    """Hold this rank's token, a variable like any of the user's."""
    import torch.distributed as dist

    rank_namespace()[_TOKEN] = tokens[dist.get_rank()]
