"""Costs of a schedule's ops, and the timeline that they give."""

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
    """Op durations in seconds or any unit: one number for all stages, or one per stage.

    activation_bytes   memory of one micro-batch on a stage from its F to its W or BW; None: unknown
    comm   latency from the end of an op to the start of one that needs it on another rank; neither rank is busy, as
           T_comm in Qi et al. 2024, "Zero Bubble Pipeline Parallelism"
    """

    forward: PerStage = 1.0
    backward_input: PerStage = 1.0
    backward_weight: PerStage = 1.0
    comm: float = 0.0
    activation_bytes: PerStage | None = None

    def table(self, stages: int) -> np.ndarray:
        """float64[kinds * stages]: duration per kind and stage; BW is B + W."""
        f, b, w = (self.of_stages(name, stages) for name in ("forward", *BACKWARDS))
        by_kind = {"F": f, "B": b, "W": w, "BW": b + w}
        return np.concatenate([by_kind[kind] for kind in KINDS])

    def of_stages(self, name: str, stages: int) -> np.ndarray:
        """float64[stages]: one of the costs per stage."""
        given = np.asarray(getattr(self, name), np.float64)
        if given.ndim and given.shape != (stages,):
            raise ValueError(f"{name} has {given.size} costs, and there are {stages} stages: one for all, or one each")
        return np.broadcast_to(given, stages)

    def divided(self, parts: float) -> Costs:
        """Return the costs with each stage cut into `parts` equal parts; `comm` is unchanged."""
        cut = {name: np.asarray(getattr(self, name), np.float64) / parts for name in ("forward", *BACKWARDS)}
        held = None if self.activation_bytes is None else np.asarray(self.activation_bytes, np.float64) / parts
        cut["activation_bytes"] = held
        return replace(self, **{name: _plain(value) for name, value in cut.items()})


@dataclass(frozen=True, eq=False)
class SchedulePrediction:
    """The source of a schedule's timeline."""

    schedule: Schedule
    costs: Costs
    times: Times
    name: str

    def critical_ops(self) -> list[int]:
        return list(self.times.critical_path)  # a schedule's ops are its nodes

    @property
    def bubble_rate(self) -> float:
        """(span - work) / span, with the longest span of a rank and the work of the busiest.

        A rank's span is from its first op's start to its last op's end, so waiting for its first micro-batch does not
        count. Work is all F, B and W of a rank's virtual stages: with equal work on all ranks the m (F + B + W) of Qi
        et al. 2024, "Zero Bubble Pipeline Parallelism", table 5.
        """
        s, placed = self.schedule, self.times
        spans = placed.end_s[s.first[1:] - 1] - placed.start_s[s.first[:-1]]
        work = np.add.reduceat(placed.cost[placed.program.cost_class], s.first[:-1])
        return max(0.0, float(1 - work.max() / spans.max())) if spans.max() else 0.0

    @property
    def held_by_op(self) -> np.ndarray:
        """float64[n]: change of its rank's memory by each op: F allocates at its start, W and BW free at their end.

        Bytes if the costs have activation_bytes, micro-batches of a full stage otherwise.
        """
        s, counted = self.schedule, self.costs.activation_bytes is None
        each = np.full(s.stages, s.ranks / s.stages) if counted else self.costs.of_stages("activation_bytes", s.stages)
        return ((s.kind == F).astype(np.float64) - ((s.kind == W) | (s.kind == BW))) * each[s.stage]

    def memory(self, spans: Spans) -> tuple[Memory, ...]:
        """Memory per rank over time, in the unit of held_by_op."""
        s, change = self.schedule, self.held_by_op
        unit = "micro-batches" if self.costs.activation_bytes is None else "bytes"
        time_s = np.where(s.kind == F, self.times.start_s, self.times.end_s)
        parts = (slice(a, b) for a, b in pairwise(s.first.tolist()))
        changed = change != 0
        return tuple(Memory.of_changes(time_s[p][changed[p]], change[p][changed[p]], unit) for p in parts)


def simulate(schedule: Schedule, costs: Costs) -> Timeline:
    """Return the timeline of a schedule: each op starts when its rank is free and its inputs have arrived.

    `bubble_fraction` is idle time / (ranks x makespan), `bubble_rate` the zero-bubble papers' metric;
    `peak_activations` counts micro-batches of a full stage in memory. Costs are per stage of this schedule: to compare
    schedules of one model, use costs.divided(schedule.virtual_stages) for each.
    """
    try:
        times = place(schedule.program, costs.table(schedule.stages), np.array([0.0, costs.comm]))
    except Circle:  # only an unchecked draft can deadlock
        raise ValueError(f"{schedule.name}: {why_not(schedule)}") from None
    spans = Spans(lambda: _columns(schedule, times), schedule.ops)
    made_from = SchedulePrediction(schedule, costs, times, schedule.name)
    return Timeline(schedule.ranks, spans, (), "predicted", made_from)


def _columns(schedule: Schedule, times: Times) -> Columns:
    n, zeros = len(schedule), np.zeros(len(schedule), np.int32)
    every = Columns.of(schedule.rank, zeros, zeros, zeros, times.start_s, times.end_s, np.arange(n))
    return every.take(times.end_s > times.start_s)


def _plain(value: np.ndarray | None) -> PerStage | None:
    """Convert an array to a float or a list of floats."""
    return None if value is None else value.tolist()
