"""What the ops of a schedule cost, and the timeline that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lab_utils.schedule.schedule import BW, KINDS, F, Schedule, W
from lab_utils.schedule.validity import why_not
from lab_utils.timeline.memory import Memory
from lab_utils.timeline.simulator.program import Circle, Times, place
from lab_utils.timeline.span import Columns, Spans
from lab_utils.timeline.timeline import Timeline

PerStage = float | Sequence[float]
BACKWARDS = ("backward_input", "backward_weight")


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
        f, b, w = (self.of_stages(name, stages) for name in ("forward", *BACKWARDS))
        by_kind = {"F": f, "B": b, "W": w, "BW": b + w}
        return np.concatenate([by_kind[kind] for kind in KINDS])

    def of_stages(self, name: str, stages: int) -> np.ndarray:
        """float64[stages]: one of the costs, for each stage."""
        given = np.asarray(getattr(self, name), np.float64)
        if given.ndim and given.shape != (stages,):
            raise ValueError(f"{name} has {given.size} costs, and there are {stages} stages: one for all, or one each")
        return np.broadcast_to(given, stages)

    def divided(self, parts: float) -> Costs:
        """The same with each stage cut into so many equal parts; a message takes as long as before."""
        cut = {name: np.asarray(getattr(self, name), np.float64) / parts for name in ("forward", *BACKWARDS)}
        held = None if self.activation_bytes is None else np.asarray(self.activation_bytes, np.float64) / parts
        cut["activation_bytes"] = held
        return replace(self, **{name: _plain(value) for name, value in cut.items()})


@dataclass(frozen=True, eq=False)
class SchedulePrediction:
    """What a schedule's timeline was made from."""

    schedule: Schedule
    costs: Costs
    times: Times

    def critical_ops(self) -> list[int]:
        return list(self.times.critical_path)  # a schedule's ops are its nodes

    @property
    def bubble_rate(self) -> float:
        """(span - work) / span: of the longest span of a rank, what no rank would need for its work.

        A rank's span is from its first op's start to its last op's end, so waiting for its first micro-batch does not
        count. Work is that of the busiest rank: all F, B and W of its chunks. Where all ranks have as much to do, that
        is the m (F + B + W) of Qi et al. 2024, "Zero Bubble Pipeline Parallelism", table 5.
        """
        s, placed = self.schedule, self.times
        spans = placed.end_s[s.first[1:] - 1] - placed.start_s[s.first[:-1]]
        work = np.add.reduceat(placed.cost[placed.program.cost_class], s.first[:-1])
        return max(0.0, float(1 - work.max() / spans.max())) if spans.max() else 0.0

    @property
    def held_by_op(self) -> np.ndarray:
        """float64[n]: what an op adds to what its rank holds (F, at its start) or takes from it (W, BW, at its end).

        Bytes where the costs say what a micro-batch leaves, micro-batches of a full stage otherwise.
        """
        s, counted = self.schedule, self.costs.activation_bytes is None
        each = np.full(s.stages, s.ranks / s.stages) if counted else self.costs.of_stages("activation_bytes", s.stages)
        return ((s.kind == F).astype(np.float64) - ((s.kind == W) | (s.kind == BW))) * each[s.stage]

    def memory(self, spans: Spans) -> tuple[Memory, ...]:
        """What each rank holds over time, in the unit of held_by_op."""
        s, change = self.schedule, self.held_by_op
        unit = "micro-batches" if self.costs.activation_bytes is None else "bytes"
        time_s = np.where(s.kind == F, self.times.start_s, self.times.end_s)
        parts = (slice(a, b) for a, b in pairwise(s.first.tolist()))
        changed = change != 0
        return tuple(Memory.of_changes(time_s[p][changed[p]], change[p][changed[p]], unit) for p in parts)


def simulate(schedule: Schedule, costs: Costs) -> Timeline:
    """Timeline of the schedule: each op starts when its rank is free and what it needs has arrived.

    `bubble_fraction` is idle time / (ranks x makespan), `bubble_rate` the zero-bubble papers' number;
    `peak_activations` counts micro-batches of a full stage in memory. Costs are those of the schedule's own stages:
    to compare schedules of one model, let each take costs.divided(schedule.chunks).
    """
    try:
        times = place(schedule.program, costs.table(schedule.stages), np.array([0.0, costs.comm]))
    except Circle:  # a draft, which nobody has checked
        raise ValueError(f"{schedule.name}: {why_not(schedule)}") from None
    spans = Spans(lambda: _columns(schedule, times), schedule.ops)
    made_from = SchedulePrediction(schedule, costs, times)
    return Timeline(schedule.ranks, spans, (), "predicted", made_from)


def _columns(schedule: Schedule, times: Times) -> Columns:
    n, zeros = len(schedule), np.zeros(len(schedule), np.int32)
    every = Columns.of(schedule.rank, zeros, zeros, zeros, times.start_s, times.end_s, np.arange(n))
    return every.take(times.end_s > times.start_s)


def _plain(value: np.ndarray | None) -> PerStage | None:
    """A number, or a list of them."""
    return None if value is None else value.tolist()
