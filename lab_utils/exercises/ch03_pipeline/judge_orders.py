"""Metrics for the checks of pipeline orders: length, longest pause, number of ops moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab_utils.schedule import Costs, Draft
from lab_utils.schedule.ops import KINDS
from lab_utils.timeline.simulator.program import Times, place

WHOLE = Costs(forward=1, backward_input=1, backward_weight=1)  # BW takes 2


def length(order: Draft, costs: Costs) -> float:
    """End of the last op."""
    return float(_placed(order, costs).end_s.max())


def longest_pause(order: Draft, costs: Costs) -> str:
    """A sentence on the longest pause between two ops of a rank with the most work, and what it waits for."""
    placed = _placed(order, costs)
    start, before = placed.start_s, np.concatenate(([0.0], placed.end_s[:-1]))
    gap = start - before
    gap[order.first[:-1]] = 0  # the time before a rank's first op does not count
    work = np.add.reduceat(placed.end_s - start, order.first[:-1])
    gap[(work < work.max() - 1e-9)[order.rank]] = 0
    at = int(gap.argmax())
    if not gap[at]:
        return f"rank {work.argmax()} has most to do, and never pauses once it has begun: it begins late"
    rank, needed = order.rank[at], order.needs[at]
    return (
        f"the longest pause of a rank with most to do: rank {rank} waits from {before[at]:g} to {start[at]:g} "
        f"with {_told(order, at)}, until {_told(order, needed)} has been run on rank {order.rank[needed]}"
    )


def moved(order: Sequence[str], before: Sequence[str]) -> int:
    """Minimum number of ops to move to turn one order into the other: those outside the longest common subsequence."""
    row = [0] * (len(before) + 1)
    for word in order:
        above = row[:]
        for at, other in enumerate(before, start=1):
            row[at] = above[at - 1] + 1 if word == other else max(above[at], row[at - 1])
    return max(len(order), len(before)) - row[-1]


def _placed(order: Draft, costs: Costs) -> Times:
    return place(order.program, costs.table(order.stages), np.array([0.0, costs.comm]))


def _told(order: Draft, at: int) -> str:
    return f"{KINDS[order.kind[at]]}{order.microbatch[at]} of stage {order.stage[at]}"
