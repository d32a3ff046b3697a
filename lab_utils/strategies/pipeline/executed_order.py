"""The order that ranks executed, read from a recorded trace; no torch here, so the notebook's kernel can use it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from lab_utils.schedule import Schedule
from lab_utils.schedule.schedule import KINDS
from lab_utils.timeline.ops import Op, Phase
from lab_utils.timeline.timeline import Timeline
from lab_utils.timeline.trace import Trace

_LABEL = re.compile(r"(F|BW|B|W)(\d+) stage (\d+)")


class Executed(NamedTuple):
    """An op of a schedule as a rank ran it; seconds on the trace's clock."""

    kind: str
    stage: int
    microbatch: int
    start_s: float
    end_s: float


class Bubble(NamedTuple):
    """Idle shares of one step: of ranks × makespan, and of a rank's longest span (the zero-bubble papers' rate)."""

    fraction: float
    rate: float


def label(kind: str, stage: int, microbatch: int) -> str:
    """Return the phase name under which an op is recorded: "F3 stage 1"."""
    return f"{kind}{microbatch} stage {stage}"


def _read(name: str) -> tuple[str, int, int] | None:
    """Parse kind, stage and micro-batch from a phase name; None for other phases."""
    found = _LABEL.fullmatch(name)
    return (found[1], int(found[3]), int(found[2])) if found else None


def ops_of(phases: tuple[Phase, ...]) -> Iterator[Executed]:
    """Yield the schedule's ops among the phases of one rank, in order of their start."""
    for phase in sorted(phases, key=lambda phase: phase.start_s):
        if op := _read(phase.name):
            yield Executed(*op, phase.start_s, phase.end_s)


def executed(trace: Trace, step: int = 0) -> Schedule:
    """Return the order that the ranks executed in the n-th step of a recorded trace, as a schedule.

    ValueError when the trace has no such step, or the ranks' ops form no schedule.
    """
    steps = [[(KINDS.index(op.kind), op.stage, op.microbatch) for op in rank] for rank in steps_of(trace)[step]]
    holders = Counter(stage for rank in steps for stage in {stage for _, stage, _ in rank})
    return Schedule.of_steps("executed", steps, copies=max(holders.values()))


def staged(trace: Trace) -> Trace:
    """Return the trace with stage, micro-batch and kind set on its compute, as pictures of schedules have them."""
    phases = tuple(tuple(p for p in rank if not _read(p.name)) for rank in trace.phases)
    return replace(trace, ops=tuple(tuple(_staged(op) for op in rank) for rank in trace.ops), phases=phases)


def _staged(op: Op) -> Op:
    read = _read(op.phase) if op.kind == "compute" else None
    if read is None:
        return op
    kind, stage, microbatch = read
    return replace(op, name=f"{kind}{microbatch}", phase=kind, stage=stage, microbatch=microbatch)


def bubble(placed: Trace | Timeline, step: int = 0) -> Bubble:
    """Return the bubble of the n-th step, by the clock of a recorded trace or in its predicted timeline.

    Only the schedule's ops count as work: the update, and the time in which messages are posted, do not.
    """
    by_rank = steps_of(placed)[step]
    work_s = [sum(op.end_s - op.start_s for op in ops) for ops in by_rank]
    starts_s, ends_s = [ops[0].start_s for ops in by_rank], [max(op.end_s for op in ops) for ops in by_rank]
    span_s = max(end_s - start_s for start_s, end_s in zip(starts_s, ends_s, strict=True))
    makespan_s = max(ends_s) - min(starts_s)
    return Bubble(1 - sum(work_s) / (len(by_rank) * makespan_s), 1 - max(work_s) / span_s)


def steps_of(trace: Trace | Timeline) -> list[list[list[Executed]]]:
    """Split ops into steps, [step][rank]: a rank's step ends before an op that it already contains."""
    by_rank = [_split(list(ops_of(phases))) for phases in trace.phases]
    if not by_rank or not all(by_rank):
        raise ValueError("no pipeline ran in this trace on every rank: record a step of Pipeline")
    return [list(ranks) for ranks in zip(*by_rank, strict=True)]


def _split(ops: list[Executed]) -> list[list[Executed]]:
    steps: list[list[Executed]] = []
    seen: set[tuple] = set()
    for op in ops:
        if not steps or op[:3] in seen:
            steps.append([])
            seen = set()
        seen.add(op[:3])
        steps[-1].append(op)
    return steps
