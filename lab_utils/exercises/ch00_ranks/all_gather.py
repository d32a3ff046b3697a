"""Examine the reader's all-gather: every entry on every rank, and which rank's tensor a wrong one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lab_utils.exercises.framework import on_ranks
from lab_utils.exercises.framework.exercise import Finding
from lab_utils.ranks import Ranks

SHAPES = ((3,), (2, 2))
Call = tuple[np.ndarray, np.ndarray, object]  # a rank's input, its input after the call, the result


def examine_all_gather(ranks: Ranks, function: Callable | str, by_hand: bool) -> Finding | None:
    """Compare with the result of all_gather; `by_hand`: only send and receive are allowed."""
    results = ranks.run(on_ranks.gathered, function, SHAPES)
    for number in range(len(SHAPES)):
        complaints = list(_complaints([calls[number] for calls in results]))
        if complaints:
            more = f"and {len(complaints) - 1} more like it on these or other ranks"
            return Finding((complaints[0],) if len(complaints) == 1 else (complaints[0], more))
    if by_hand and (used := collectives_used(ranks, function)):
        return Finding((f"the values are right, but {', '.join(used)} did the work: use send and receive only",))
    return None


def collectives_used(ranks: Ranks, function: Callable | str) -> list[str]:
    """Names of the collectives that the function calls, sorted."""
    trace = ranks.record(on_ranks.gathered, function, SHAPES)
    return sorted({op.name for op in trace if op.kind == "collective"})


def _complaints(calls: Sequence[Call]) -> Iterator[str]:
    """Yield one sentence per error, rank by rank."""
    given = [x for x, _, _ in calls]
    for rank, (before, after, got) in enumerate(calls):
        if not np.array_equal(before, after):
            yield f"rank {rank}'s own x has changed: it was {_shown(before)} and is {_shown(after)}; leave it as it is"
        elif isinstance(problem := _entries(got, given), str):
            yield f"rank {rank} {problem}"
        else:
            yield from _wrong_entries(rank, problem, given)


def _entries(got: object, given: Sequence[np.ndarray]) -> np.ndarray | str:
    """Convert the result to an array [ranks, *shape of x]; or a sentence on why that is impossible."""
    n, shape = len(given), given[0].shape
    if isinstance(got, list | tuple):
        if len(got) != n:
            return f"returned {len(got)} entries, and there are {n} ranks"
        if any(np.shape(entry) != shape for entry in got):
            return f"returned entries of shapes {[list(np.shape(entry)) for entry in got]}, and x is {list(shape)}"
        return np.stack([np.asarray(entry) for entry in got])
    if not isinstance(got, np.ndarray):
        return f"returned {type(got).__name__}, and not a tensor or a list of tensors"
    if got.size != n * given[0].size:
        return f"returned shape {list(got.shape)}, and {n} tensors of {list(shape)} have the shape {[n, *shape]}"
    return got.reshape(n, *shape)


def _wrong_entries(rank: int, got: np.ndarray, given: Sequence[np.ndarray]) -> Iterator[str]:
    for entry, (found, expected) in enumerate(zip(got, given, strict=True)):
        if not np.array_equal(found, expected):
            owners = [owner for owner, x in enumerate(given) if np.array_equal(found, x)]
            whose = f", which is rank {owners[0]}'s" if owners else ""
            yield (
                f"on rank {rank} entry {entry} should be rank {entry}'s tensor {_shown(expected)}, "
                f"and is {_shown(found)}{whose}"
            )


def _shown(array: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in array.ravel().tolist()) + "]"
