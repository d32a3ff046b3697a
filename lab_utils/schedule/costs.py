"""What the ops of a schedule cost, and the timeline that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lab_utils.schedule.schedule import BW, KINDS, F, Schedule, W
from lab_utils.timeline.memory import Memory
from lab_utils.timeline.program import Circle, Placement, place
from lab_utils.timeline.span import Columns, Spans
from lab_utils.timeline.timeline import Timeline

PerStage = float | Sequence[float]


@dataclass(frozen=True)
class Costs:
    """Seconds, or any unit: of each op one number for all stages, or one for each stage.

    activation_bytes   what one micro-batch leaves in memory on a stage from its F to its W or BW; None: not said
    comm   from one rank's end to the start that it allows on another; it keeps neither of them busy, as in Qi et al.
           2024, "Zero Bubble Pipeline Parallelism", T_comm
    """

    forward: PerStage = 1.0
    backward_input: PerStage = 1.0
    backward_weight: PerStage = 1.0
    comm: float = 0.0
    activation_bytes: PerStage | None = None

    def table(self, stages: int) -> np.ndarray:
        """float64[kinds * stages]: what an op of a kind costs on a stage; BW is B and W together."""
        f, b, w = (self.of_stages(name, stages) for name in ("forward", "backward_input", "backward_weight"))
        by_kind = {"F": f, "B": b, "W": w, "BW": b + w}
        return np.concatenate([by_kind[kind] for kind in KINDS])

    def of_stages(self, name: str, stages: int) -> np.ndarray:
        """float64[stages]: one of the costs, for each stage."""
        given = np.asarray(getattr(self, name), np.float64)
        if given.ndim and given.shape != (stages,):
            raise ValueError(f"{name} has {given.size} costs, and there are {stages} stages: one for all, or one each")
        return np.broadcast_to(given, stages)


@dataclass(frozen=True, eq=False)
class SchedulePrediction:
    """What a schedule's timeline was made from."""

    schedule: Schedule
    costs: Costs
    placement: Placement

    def critical_ops(self) -> list[int]:
        return list(self.placement.critical_path)  # a schedule's ops are its nodes

    def memory(self, spans: Spans) -> tuple[Memory, ...]:
        """What each rank holds: bytes where the costs say what a micro-batch leaves, micro-batches otherwise."""
        s, counted = self.schedule, self.costs.activation_bytes is None
        each = np.ones(s.stages) if counted else self.costs.of_stages("activation_bytes", s.stages)
        unit = "micro-batches" if counted else "bytes"
        begins, ends = s.kind == F, (s.kind == W) | (s.kind == BW)
        time_s = np.where(begins, self.placement.start_s, self.placement.end_s)
        change = (begins.astype(np.float64) - ends) * each[s.stage]
        parts = (slice(a, b) for a, b in pairwise(s.first.tolist()))
        changed = change != 0
        return tuple(Memory.of_changes(time_s[p][changed[p]], change[p][changed[p]], unit) for p in parts)


def simulate(schedule: Schedule, costs: Costs) -> Timeline:
    """Timeline of the schedule: each op starts when its rank is free and what it needs has arrived.

    `bubble_fraction` is idle time / (ranks x makespan); `peak_activations` counts micro-batches in memory. ValueError
    when ranks wait for each other in a circle.
    """
    lag = np.array([0.0, costs.comm])
    try:
        placement = place(schedule.program, costs.table(schedule.stages), lag)
    except Circle as circle:
        stuck = ", ".join(f"rank {schedule.rank[at]} at {schedule.ops[at].name}" for at in circle.blocked.tolist())
        raise ValueError(f"{schedule.name}: ranks wait for each other in a circle: {stuck}") from None
    spans = Spans(lambda: _columns(schedule, placement), schedule.ops)
    made_from = SchedulePrediction(schedule, costs, placement)
    return Timeline(schedule.ranks, spans, (), "predicted", made_from)


def _columns(schedule: Schedule, placement: Placement) -> Columns:
    n, zeros = len(schedule), np.zeros(len(schedule), np.int32)
    every = Columns.of(schedule.rank, zeros, zeros, zeros, placement.start_s, placement.end_s, np.arange(n))
    return every.take(placement.end_s > placement.start_s)
