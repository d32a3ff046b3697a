"""One step of a small GPT by the order that ScheduleExplorer shows, on real ranks, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lab_utils.parity import Parity, parity
from lab_utils.schedule import Draft, Schedule, simulate
from lab_utils.strategies.pipeline.readback import executed, measured_costs, ops_of
from lab_utils.timeline.timeline import Timeline
from lab_utils.timeline.trace import Trace
from lab_utils.timeline.units import time_text
from lab_utils.widgets.schedule_explorer_drawn import chunk_of_stage, packed

if TYPE_CHECKING:
    from lab_utils.ranks import Ranks

STEPS = 4  # the first one warms up
NOTE = "Ranks share this computer's cores: read the order and the waits in the measured times, and not who is faster."


@dataclass(frozen=True, eq=False)
class Run:
    """A schedule that ran: parity with serial training, the last step's times, and a prediction from its costs.

    start, end   float64[n]: when each op of the schedule ran, seconds from the first op's start
    peaks        for each rank how many micro-batches of a full stage it had in memory at most
    predicted    the schedule placed by the costs that were measured
    """

    schedule: Schedule
    parity: Parity
    start: np.ndarray
    end: np.ndarray
    peaks: tuple[float, ...]
    same_order: bool
    predicted: Timeline
    trace: Trace

    @property
    def sentences(self) -> list[str]:
        s, end = self.schedule, float(self.end.max())
        times = time_text(end), time_text(self.predicted.makespan_s)
        order = "the order executed is the schedule's" if self.same_order else "the ranks executed another order"
        peaks, wanted = (", ".join(f"{peak:g}" for peak in each) for each in (self.peaks, s.peak_activations))
        return [
            f"{s.name} ran: {s.ranks} ranks, {s.microbatches} micro-batches, {STEPS} steps of a small GPT; {order}.",
            *repr(self.parity).splitlines(),
            f"activations a rank, measured {peaks}; predicted {wanted}",
            "last step: measured {}, predicted from the costs that were measured {}".format(*times),
            NOTE,
        ]

    def about(self) -> dict[str, object]:
        """For the browser: what is said of it, and how its two figures are to be drawn."""
        placed = self.predicted.prediction.placement
        s, most = self.schedule, max(float(self.end.max()), float(placed.end_s.max()))
        return {
            "state": "done" if self.parity.equal else "differs", "says": self.sentences, "ranks": s.ranks,
            "stages": s.stages, "named": s.stages != s.ranks or s.copies > 1, "ops": len(s), "extent": most,
            "extent_text": time_text(most), "chunks": chunk_of_stage(s),
        }  # fmt: skip

    def boxes(self) -> bytes:
        """The measured boxes, then the predicted ones."""
        placed = self.predicted.prediction.placement
        measured = packed(self.schedule, self.start, self.end)
        return measured + packed(self.schedule, placed.start_s, placed.end_s)


def run(ranks: Ranks, draft: Draft, tell: Callable[[int, dict], object] | None = None) -> Run:
    """Run it on the first ranks, recorded. ValueError where it is not whole, or there are too few ranks.

    tell   called with a rank and its {"step": n} after each step; an exception that it raises ends the run
    """
    if wrong := draft.why_not():
        raise ValueError(f"it cannot run yet: {wrong}")
    if ranks.size < draft.ranks:
        raise ValueError(f"{draft.name} is for {draft.ranks} ranks, and there are {ranks.size}: choose a smaller p")
    schedule = Schedule.of_steps(draft.name, steps_of(draft), draft.stages, draft.microbatches, draft.copies)
    trained, serial = _programs()
    trace = ranks.record(trained, schedule, STEPS, count=False, on_report=tell)
    reference = ranks.run(serial, schedule.stages, schedule.microbatches, STEPS)[0]
    p = schedule.ranks
    trace = Trace(trace.ops[:p], trace.phases[:p], trace.results[:p])
    return _read(schedule, trace, reference)


def steps_of(draft: Draft) -> list[list[tuple[int, int, int]]]:
    """Kind, stage and micro-batch of each op, rank by rank."""
    ops = list(zip(draft.kind.tolist(), draft.stage.tolist(), draft.microbatch.tolist(), strict=True))
    return [ops[a:b] for a, b in zip(draft.first[:-1], draft.first[1:], strict=True)]


def _read(schedule: Schedule, trace: Trace, reference: dict) -> Run:
    each = np.diff(schedule.first).tolist()
    last = [op for phases, n in zip(trace.phases, each, strict=True) for op in list(ops_of(phases))[-n:]]
    start, end = np.array([op.start_s for op in last]), np.array([op.end_s for op in last])
    order = [executed(trace, step).orders == schedule.orders for step in range(STEPS)]
    return Run(
        schedule, parity(reference, trace.results), start - start.min(), end - start.min(),
        tuple(found["peak"] for found in trace.results), all(order), simulate(schedule, measured_costs(trace)), trace,
    )  # fmt: skip


def _programs() -> tuple[Callable, Callable]:
    """What the ranks run; made here so that they travel by value, and no rank loads widgets."""

    def begin(stages: int, microbatches: int):
        import torch

        from lab_utils.gpt import GPT, GPTConfig

        torch.manual_seed(0)
        model = GPT(GPTConfig(block=16, layers=max(2, stages), channels=32, heads=4)).double()
        tokens = torch.randint(256, (2 * microbatches, 17))
        return model, tokens[:, :-1], tokens[:, 1:]

    def trained(schedule: Schedule, steps: int) -> dict | None:
        import torch
        import torch.distributed as dist

        from lab_utils.comm import report
        from lab_utils.strategies.pipeline import Pipeline, snapshot, step

        fewer = schedule.ranks < dist.get_world_size()
        group = dist.new_group(range(schedule.ranks)) if fewer else dist.group.WORLD
        if dist.get_rank() >= schedule.ranks:
            return None
        model, x, y = begin(schedule.stages, schedule.microbatches)
        pipeline = Pipeline(model, schedule, group=group)
        optimizer = torch.optim.AdamW(pipeline.parameters(), lr=1e-3)
        for number in range(steps):
            loss = step(pipeline, optimizer, x, y)
            report(step=number + 1)
        return snapshot(pipeline, loss) | {"peak": pipeline.peak_activations}

    def serial(stages: int, microbatches: int, steps: int) -> dict | None:
        import torch
        import torch.distributed as dist

        from lab_utils.strategies import serial

        if dist.get_rank():
            return None
        model, x, y = begin(stages, microbatches)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(steps):
            loss = serial.step(model, optimizer, x, y)
        return serial.snapshot(model, loss)

    return trained, serial
