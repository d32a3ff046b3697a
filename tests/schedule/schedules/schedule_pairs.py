"""DualPipe as its authors run it: a forward and a whole backward side by side, which begin and end together."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule import Costs, Schedule
from lab_utils.schedule.schedule import BW, F
from lab_utils.timeline.simulator.program import Program, place


def idle_side_by_side(s: Schedule, costs: Costs) -> tuple[float, ...]:
    """Idle time of each rank. A pair takes as long as its forward and backward together: what differs is the waiting.

    A forward right before a whole backward of the rank's other stage makes a pair with it.
    """
    partner = np.arange(len(s))
    for at in range(len(s) - 1):
        if _is_pair(s, at):
            partner[at], partner[at + 1] = at + 1, at
    edges: list[list[int]] = [[] for _ in range(len(s))]
    for at, needed in enumerate(s.needs.tolist()):
        if needed >= 0:
            edges[min(at, partner[at])].append(max(needed, partner[needed]))
    count = np.concatenate(([0], np.cumsum([len(each) for each in edges]))).astype(np.int32)
    source = np.array([needed for each in edges for needed in each], np.int32)
    program = Program(s.first, s.program.cost_class, count, source, np.zeros(len(source), np.uint8))
    placed = place(program, costs.table(s.stages))
    work = np.add.reduceat(placed.cost[program.cost_class], s.first[:-1])
    return tuple((placed.makespan_s - work).tolist())


def _is_pair(s: Schedule, at: int) -> bool:
    there = s.rank[at] == s.rank[at + 1] and s.kind[at] == F and s.kind[at + 1] == BW
    return bool(there and s.stage[at] != s.stage[at + 1])
