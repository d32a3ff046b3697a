"""Explain the idle time of a schedule's timeline: per pause, a sentence with the op that the rank waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import BW, W

ROUNDING = 1e-9  # relative to the makespan: floating-point error of the sums


class Gap(NamedTuple):
    """A pause of a rank, in the unit of the costs, the reason for it, and the op that the rank waits for.

    needs   index of that op in the draft; -1 if the rank waits for none
    """

    rank: int
    start: float
    end: float
    why: str
    needs: int = -1


def amount(value: float) -> str:
    """Format a time in the unit of the costs: at most four digits, no exponent in the range of the sliders."""
    return f"{value:.4g}"


def gaps(draft: Draft, start: np.ndarray, end: np.ndarray) -> list[Gap]:
    """All pauses from 0 to the makespan, rank by rank; start, end: float64[n], the times of the draft's ops.

    For an incomplete draft, the pause after a rank's last op says that no op is placed, not that it is finished.
    """
    if not len(draft):
        return []
    last = int(np.argmax(end))
    return [gap for rank in range(draft.ranks) for gap in _of_rank(draft, rank, start, end, last)]


def is_whole(draft: Draft) -> bool:
    """Whether every stage has run B and W of every micro-batch."""
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
    comes = f"{draft.told(needed)}, which rank {draft.rank[needed]} ends at {amount(end[needed])}"
    way = start[at] - end[needed]
    if way > ROUNDING * start[at]:
        comes += f" and which is {amount(way)} on its way"
    if first:
        return f"start ramp: nothing has come to rank {rank} yet; {draft.told(at)} waits for {comes}"
    return f"rank {rank} waits: {draft.told(at)} needs {comes}{_meanwhile(draft, at)}"


def _meanwhile(draft: Draft, at: int) -> str:
    """Name the first weight gradient that was ready in the pause before an op but runs later; or ""."""
    later = np.arange(at + 1, draft.first[draft.rank[at] + 1])
    later = later[draft.kind[later] == W]
    ready = later[draft.needs[later] < at]  # their B is on the same rank
    return f"; {draft.told(ready[0])} was ready meanwhile" if len(ready) else ""


def _over(draft: Draft, rank: int, ops: int, end: np.ndarray, last: int) -> str:
    if not is_whole(draft):
        return f"rank {rank} has no op placed here yet" if ops else f"rank {rank} has no op placed yet"
    ends = f"{draft.told(last)} on rank {draft.rank[last]}, ends at {amount(end[last])}"
    return f"end ramp: rank {rank} has run all its ops; the last op of all, {ends}"
