"""Judge local SGD: the parameters on every rank against all ranks simulated one after the other in one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lab_utils.exercises.ch01_data.wire.words import LocalSGD as say
from lab_utils.exercises.framework.against_serial import CLOSE, Tensors, difference, worst
from lab_utils.exercises.framework.on_ranks import OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.render import source

HERE = "lab_utils.exercises.ch01_data.wire"
on_ranks = OnRanks(f"{HERE}.on_ranks")
STEPS, EVERY = 7, 3  # two rounds, and an incomplete one
SIZES = {"steps": STEPS, "every": EVERY, "twice": 2 * EVERY, "left": STEPS % EVERY, "late": EVERY + 1}
CAUSES = "alone each_step gradients unfinished first_round divided_twice summed reset averaged_state".split()


def judge_local_sgd(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_local_sgd(model, optimizer, batches, every)`, in float64 with momentum SGD."""
    found = ranks.run(on_ranks.trained, function, STEPS, EVERY)
    wanted = ranks.run(on_ranks.simulated, "right", STEPS, EVERY)[0]
    if _equal(found, wanted):
        return []
    if _equal(found, ranks.run(on_ranks.simulated, "untrained", STEPS, EVERY)[0]):
        return [say.untrained]
    for cause in CAUSES:
        if _equal(found, ranks.run(on_ranks.simulated, cause, STEPS, EVERY)[0]):
            why = getattr(say, cause).format(**SIZES)
            return [say.serial.format(why=why), _worst(found, wanted)]
    return [*_unequal(found), _worst(found, wanted)]


def explained() -> dict[str, Any]:
    """Return the values of the explanation."""
    return {"solution": source(f"{HERE}.on_ranks_solution", "my_local_sgd").text}


def _equal(found: Sequence[Tensors], wanted: Sequence[Tensors]) -> bool:
    return all(worst(mine, its)[0] < CLOSE for mine, its in zip(found, wanted, strict=True))


def _worst(found: Sequence[Tensors], wanted: Sequence[Tensors]) -> str:
    relative, name, rank = max(
        (*worst(mine, its), rank) for rank, (mine, its) in enumerate(zip(found, wanted, strict=True))
    )
    return (say.worst if np.isfinite(relative) else say.not_finite).format(name=name, rank=rank, relative=relative)


def _unequal(found: Sequence[Tensors]) -> list[str]:
    relative, name, rank = max(
        (difference(each[name], first), name, rank)
        for rank, each in enumerate(found)
        for name, first in found[0].items()
    )
    return [say.unequal.format(name=name, rank=rank)] if relative > CLOSE else []
