"""Run training steps of a small GPT on real ranks in the order that ScheduleExplorer shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import traitlets

from lab_utils.schedule import Draft, Schedule, simulate, why_not
from lab_utils.strategies.parity import Parity, parity
from lab_utils.strategies.pipeline.executed_order import executed, measured_costs, ops_of
from lab_utils.text import time_text
from lab_utils.timeline.timeline import Timeline
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.kit.background import Beside, Stopped
from lab_utils.widgets.schedule_explorer import words
from lab_utils.widgets.schedule_explorer.drawn import nth_on_rank, packed
from lab_utils.widgets.schedule_explorer.probe import trained, trained_serially

if TYPE_CHECKING:
    from lab_utils.ranks import Ranks

STEPS = 4  # the first one warms up


@dataclass(frozen=True, eq=False)
class Run:
    """A run of a schedule: parity with serial training, the last step's times, and a prediction from its costs.

    start, end   float64[n]: times of each op of the schedule, in seconds from the first op's start
    peaks        per rank, the peak number of micro-batches of a full stage in memory
    predicted    the schedule simulated with the measured costs
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
        order = words.SAME_ORDER if self.same_order else words.OTHER_ORDER
        peaks, wanted = (", ".join(f"{peak:g}" for peak in each) for each in (self.peaks, s.peak_activations))
        return [
            words.RAN.format(name=s.name, ranks=s.ranks, microbatches=s.microbatches, steps=STEPS, order=order),
            *repr(self.parity).splitlines(),
            words.PEAKS.format(measured=peaks, predicted=wanted),
            words.LAST_STEP.format(measured=time_text(end), predicted=time_text(self.predicted.makespan_s)),
            words.NOTE,
        ]

    def about(self) -> dict[str, object]:
        """Return its text and the layout of its two figures, for the browser."""
        placed = self.predicted.prediction.times
        s, most = self.schedule, max(float(self.end.max()), float(placed.end_s.max()))
        return {
            "state": "done" if self.parity.equal else "differs", "says": self.sentences, "ranks": s.ranks,
            "stages": s.stages, "named": s.stages != s.ranks or s.copies > 1, "ops": len(s), "extent": most,
            "extent_text": time_text(most), "nth_on_rank": nth_on_rank(s),
        }  # fmt: skip

    def boxes(self) -> bytes:
        """Return the measured boxes, then the predicted ones."""
        placed = self.predicted.prediction.times
        measured = packed(self.schedule, self.start, self.end)
        return measured + packed(self.schedule, placed.start_s, placed.end_s)


def run(ranks: Ranks, draft: Draft, tell: Callable[[int, dict], object] | None = None) -> Run:
    """Run it on the first ranks, recorded. ValueError if it is incomplete, or there are too few ranks.

    tell   called with a rank and its {"step": n} after each step; an exception in it ends the run
    """
    if wrong := why_not(draft):
        raise ValueError(words.CANNOT_RUN.format(why=wrong))
    if ranks.size < draft.ranks:
        raise ValueError(words.TOO_FEW_RANKS.format(name=draft.name, wanted=draft.ranks, ranks=ranks.size))
    schedule = Schedule.of_steps(draft.name, steps_of(draft), draft.stages, draft.microbatches, draft.copies)
    trace = ranks.record(trained, schedule, STEPS, count=False, on_report=tell)
    reference = ranks.run(trained_serially, schedule.stages, schedule.microbatches, STEPS)[0]
    p = schedule.ranks
    trace = Trace(trace.ops[:p], trace.phases[:p], trace.results[:p])
    return _read(schedule, trace, reference)


def steps_of(draft: Draft) -> list[list[tuple[int, int, int]]]:
    """Return kind, stage and micro-batch of each op, per rank."""
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


class RunsOnRanks(traitlets.HasTraits):
    """A widget's runs on real ranks, from the browser in a thread and one at a time; `result` is the last run."""

    _runs = traitlets.Int(0).tag(sync=True)  # counts the browser's requests to run, and to stop a run
    _run_stops = traitlets.Int(0).tag(sync=True)
    _ran = traitlets.Dict().tag(sync=True)
    _ran_boxes = traitlets.Bytes().tag(sync=True)
    result: Run | None = None
    _running: Beside | None = None

    def run(self) -> str:
        """Run the order on the ranks and compare it with serial training; return the error as a sentence, or ""."""
        self._tell_run(0, {"step": 0})
        try:
            ran, error = run(self._given_ranks(), self.schedule, self._tell_run), None
        except Exception as raised:  # any error of the ranks becomes a sentence in the card
            ran, error = None, raised
        except KeyboardInterrupt:
            self._show_run(None, Stopped())
            raise
        return self._show_run(ran, error)

    def _run_beside(self) -> None:
        if self._running is None:
            self._tell_run(0, {"step": 0})
            schedule = self.schedule  # the setting may change meanwhile
            self._running = Beside(
                lambda tell: run(self._given_ranks(), schedule, tell), self._tell_run, self._show_run
            )

    def _tell_run(self, rank: int, now: dict[str, int]) -> None:
        if rank == 0:
            self._ran = {"state": "running", "says": [words.RUNNING.format(step=now["step"], steps=STEPS)]}

    def _show_run(self, ran: Run | None, error: Exception | None) -> str:
        self._running = None
        if error is not None:
            says = words.RUN_STOPPED if isinstance(error, Stopped) else str(error).partition("\n")[0]
            self._ran = {"state": "failed", "says": [says or type(error).__name__]}
            return self._ran["says"][0]
        self.result, self._ran_boxes, self._ran = ran, ran.boxes(), ran.about()
        return "" if ran.parity.equal else ran.parity.verdict

    def _given_ranks(self) -> Ranks:
        if self._ranks is None:
            raise ValueError(words.NO_RANKS)
        if (ranks := self._ranks()) is None:
            raise ValueError(words.LOST_RANKS)
        return ranks

    @traitlets.observe("_runs")
    def _asked_for_run(self, _: object) -> None:
        self._run_beside() if self._from_browser else self.run()

    @traitlets.observe("_run_stops")
    def _asked_to_stop_the_run(self, _: object) -> None:
        if self._running is not None:
            self._running.stop()
            self._ran = {"state": "running", "says": [words.STOPPING]}
