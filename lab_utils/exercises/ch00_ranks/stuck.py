"""Chapter 00: two programs that deadlock, to be fixed with the help of the lab's report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab_utils.exercises.framework import on_ranks
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise, Finding
from lab_utils.ranks import Ranks


def _examine_swap(ranks: Ranks, function: Callable | str) -> Finding | None:
    for rank, (other, wanted, got) in enumerate(ranks.run(on_ranks.swapped, function)):
        if not isinstance(got, np.ndarray):
            return Finding((f"rank {rank} returned {type(got).__name__}, and not its partner's tensor",))
        if not np.array_equal(wanted, got):
            shown = f"{wanted.tolist()}, and it returned {np.asarray(got).tolist()}"
            return Finding((f"rank {rank} should have rank {other}'s tensor {shown}",))
    return None


def _examine_total(ranks: Ranks, function: Callable | str) -> Finding | None:
    for rank, (wanted, got) in enumerate(ranks.run(on_ranks.totalled, function)):
        if got is None or not np.isclose(wanted, got):
            return Finding((f"all batches of all ranks add up to {wanted:g}, and rank {rank} returned {got}",))
    return None


def _explain_swap() -> str:
    return (
        "every rank holds its partner's tensor\n"
        "Both waited to receive before they sent. Any order works in which of each pair one sends first, or nobody "
        "waits: isend, then recv, then wait. dist.batch_isend_irecv does the same for many messages."
    )


def _explain_total() -> str:
    return (
        "every rank holds the sum of all batches\n"
        "A collective inside a loop needs as many turns on every rank. Add up what is one's own first, and all-reduce "
        "once; where a loop must communicate in each turn, as training does, give all ranks as many batches, or agree "
        "on the number first (PyTorch's DDP has a join() for that)."
    )


EXERCISES = (
    Exercise(
        "00.7",
        "swap(x) should give each rank the tensor of its partner: 0 and 1 swap, 2 and 3 swap. It gets stuck. Mend it.",
        "Run the cell below, read who waits for whom, and mend the cell above.",
        ("whom does rank 0 wait for, and what would that rank have to do first?",
         "isend does not wait"),
        on_the_ranks(_examine_swap),
        _explain_swap,
    ),
    Exercise(
        "00.8",
        "total(batches) should give every rank the sum over the batches of all ranks. It gets stuck. Mend it.",
        "Run the cell below, read which rank is missing, and mend the cell above.",
        ("how often does each rank come to the all-reduce?",
         "what could be added up without any other rank?"),
        on_the_ranks(_examine_total),
        _explain_total,
    ),
)  # fmt: skip
