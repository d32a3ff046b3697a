"""Why a rank idles in a schedule placed in time: for each pause the op that it waits for, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import BW, KINDS, W

ROUNDING = 1e-9  # of the makespan: sums of floating-point numbers


class Gap(NamedTuple):
    """A pause of a rank, in the unit of the costs, the reason for it, and the op that ends last before it is over.

    needs   number of that op in the draft; -1 where the rank waits for none
    """

    rank: int
    start: float
    end: float
    why: str
    needs: int = -1


def amount(value: float) -> str:
    """A time in the unit of the costs: at most four digits, no exponent for what sliders give."""
    return f"{value:.4g}"


def name_of(draft: Draft, at: int) -> str:
    return f"{KINDS[draft.kind[at]]}{draft.microbatch[at]} of stage {draft.stage[at]}"


def gaps(draft: Draft, start: np.ndarray, end: np.ndarray) -> list[Gap]:
    """All pauses from 0 to the makespan, rank by rank; start, end: float64[n], when each op of the draft runs.

    A draft that lacks ops is told apart: behind its last op a rank has nothing placed, and not nothing to do.
    """
    if not len(draft):
        return []
    last = int(np.argmax(end))
    return [gap for rank in range(draft.ranks) for gap in _of_rank(draft, rank, start, end, last)]


def is_whole(draft: Draft) -> bool:
    """Whether every stage has run both backwards of every micro-batch."""
    return int(np.isin(draft.kind, (W, BW)).sum()) == draft.stages * draft.microbatches


def _of_rank(draft: Draft, rank: int, start: np.ndarray, end: np.ndarray, last: int) -> Iterator[Gap]:
    a, b = draft.first[rank : rank + 2].tolist()
    free = np.concatenate(([0.0], end[a:b]))
    for i in np.flatnonzero(start[a:b] - free[:-1] > ROUNDING * end[last]).tolist():
        why = _waits(draft, rank, a + i, end, start, first=i == 0)
        yield Gap(rank, float(free[i]), float(start[a + i]), why, int(draft.needs[a + i]))
    if end[last] - free[-1] > ROUNDING * end[last]:
        yield Gap(rank, float(free[-1]), float(end[last]), _over(draft, rank, b - a, end, last))


def _waits(draft: Draft, rank: int, at: int, end: np.ndarray, start: np.ndarray, first: bool) -> str:
    needed = int(draft.needs[at])
    comes = f"{name_of(draft, needed)}, which rank {draft.rank[needed]} ends at {amount(end[needed])}"
    way = start[at] - end[needed]
    if way > ROUNDING * start[at]:
        comes += f" and which is {amount(way)} on its way"
    if first:
        return f"start ramp: nothing has come to rank {rank} yet; {name_of(draft, at)} waits for {comes}"
    return f"rank {rank} waits: {name_of(draft, at)} needs {comes}{_meanwhile(draft, at, end)}"


def _meanwhile(draft: Draft, at: int, end: np.ndarray) -> str:
    """The first weight gradient that the rank could have run in the pause before an op, and runs later; or ""."""
    later = np.arange(at + 1, draft.first[draft.rank[at] + 1])
    later = later[draft.kind[later] == W]
    ready = later[draft.needs[later] < at]  # their B is on the same rank
    return f"; {name_of(draft, ready[0])} was ready meanwhile" if len(ready) else ""


def _over(draft: Draft, rank: int, ops: int, end: np.ndarray, last: int) -> str:
    if not is_whole(draft):
        return f"rank {rank} has no op placed here yet" if ops else f"rank {rank} has no op placed yet"
    ends = f"{name_of(draft, last)} on rank {draft.rank[last]}, ends at {amount(end[last])}"
    return f"end ramp: rank {rank} has run all its ops; the last op of all, {ends}"
