"""What the ops of a schedule took on the ranks that ran it, as costs of a prediction; no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from lab_utils.schedule import Costs, Schedule
from lab_utils.strategies.pipeline.executed_order import Executed, executed, steps_of
from lab_utils.timeline.trace import Trace


def measured_costs(trace: Trace) -> Costs:
    """Return the durations of each stage's ops and of a message in a trace: medians over micro-batches and steps.

    comm is the time from the end of an op to the start of the op on another rank that waited for it. For a stage that
    only ran BW, all of it counts as backward_input: enough for predicting the same schedule.
    """
    steps = steps_of(trace)
    took: dict[tuple[str, int], list[float]] = {}
    for op in (op for by_rank in steps for rank in by_rank for op in rank):
        took.setdefault((op.kind, op.stage), []).append(op.end_s - op.start_s)
    stages = range(1 + max(stage for _, stage in took))

    def cost(kind: str, stage: int) -> float:
        return median(took.get((kind, stage), [0.0]))

    backward = [cost("B", s) if ("B", s) in took else cost("BW", s) for s in stages]
    comm = [lag for number in range(len(steps)) for lag in _lags(executed(trace, number), steps[number])]
    return Costs([cost("F", s) for s in stages], backward, [cost("W", s) for s in stages], median(comm or [0.0]))


def _lags(schedule: Schedule, by_rank: list[list[Executed]]) -> Iterator[float]:
    """Yield the seconds from an op's end to the start of the op on another rank that waited for it."""
    ops = [op for rank in by_rank for op in rank]
    for at, needed in enumerate(schedule.needs.tolist()):
        if needed < 0 or schedule.rank[at] == schedule.rank[needed]:
            continue
        free_s = ops[at - 1].end_s if at > schedule.first[schedule.rank[at]] else float("-inf")
        if free_s < ops[needed].end_s:
            yield max(0.0, ops[at].start_s - ops[needed].end_s)
