"""Judge the reader's messages: every entry of an all-gather, and the tensors of two programs that deadlocked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lab_utils.exercises.ch00_ranks import words
from lab_utils.exercises.ch00_ranks.words import AllGather as say
from lab_utils.exercises.framework.on_ranks import OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks

on_ranks = OnRanks("lab_utils.exercises.ch00_ranks.on_ranks")
SHAPES = ((3,), (2, 2))
Call = tuple[np.ndarray, np.ndarray, object]  # a rank's input, its input after the call, the result


def judge_all_gather(ranks: Ranks, function: Function) -> list[str]:
    """Compare with the result of all_gather, which no collective may have made: only send and receive are allowed."""
    results = ranks.run(on_ranks.gathered, function, SHAPES)
    for number in range(len(SHAPES)):
        if complaints := list(_complaints([calls[number] for calls in results])):
            more = [say.more.format(more=len(complaints) - 1)] if complaints[1:] else []
            return [complaints[0], *more]
    trace = ranks.record(on_ranks.gathered, function, SHAPES)
    used = sorted({op.name for op in trace if op.kind == "collective"})
    return [say.collectives.format(names=", ".join(used))] if used else []


def _complaints(calls: Sequence[Call]) -> Iterator[str]:
    """Yield one sentence per error, rank by rank."""
    given = [x for x, _, _ in calls]
    for rank, (before, after, got) in enumerate(calls):
        if not np.array_equal(before, after):
            yield say.other_x.format(rank=rank, before=shown(before), after=shown(after))
        elif why := _wrong_shape(rank, got, given):
            yield why
        else:
            yield from _wrong_entries(rank, np.stack([*got]).reshape(len(given), *given[0].shape), given)


def _wrong_shape(rank: int, got: object, given: Sequence[np.ndarray]) -> str:
    """Describe why the result is no array [ranks, *shape of x]; "" if it is one."""
    n, shape = len(given), given[0].shape
    if isinstance(got, list | tuple):
        if len(got) != n:
            return say.entries.format(rank=rank, entries=len(got), n=n)
        if any(np.shape(entry) != shape for entry in got):
            return say.shapes.format(rank=rank, shapes=[list(np.shape(entry)) for entry in got], shape=list(shape))
    elif not isinstance(got, np.ndarray):
        return say.strange.format(rank=rank, type=type(got).__name__)
    elif got.size != n * given[0].size:
        return say.size.format(rank=rank, shape=list(got.shape), n=n, x=list(shape), wanted=[n, *shape])
    return ""


def _wrong_entries(rank: int, got: np.ndarray, given: Sequence[np.ndarray]) -> Iterator[str]:
    for entry, (found, wanted) in enumerate(zip(got, given, strict=True)):
        if not np.array_equal(found, wanted):
            owner = next((owner for owner, x in enumerate(given) if np.array_equal(found, x)), None)
            wrong = say.entry.format(rank=rank, entry=entry, wanted=shown(wanted), found=shown(found))
            yield wrong if owner is None else say.entry_of.format(entry=wrong, owner=owner)


def shown(array: np.ndarray) -> str:
    """Return the numbers of an array, "[1, 2.5]"."""
    return "[" + ", ".join(f"{value:.4g}" for value in array.ravel().tolist()) + "]"


def judge_swap(ranks: Ranks, function: Function) -> list[str]:
    for rank, (partner, wanted, got) in enumerate(ranks.run(on_ranks.swapped, function)):
        if not isinstance(got, np.ndarray):
            return [words.Swap.strange.format(rank=rank, type=type(got).__name__)]
        if not np.array_equal(wanted, got):
            shown = {"wanted": wanted.tolist(), "got": got.tolist()}
            return [words.Swap.wrong.format(rank=rank, partner=partner, **shown)]
    return []


def judge_total(ranks: Ranks, function: Function) -> list[str]:
    for rank, (wanted, got) in enumerate(ranks.run(on_ranks.totalled, function)):
        if got is None or not np.isclose(wanted, got):
            return [words.Total.wrong.format(wanted=wanted, rank=rank, got=got)]
    return []
