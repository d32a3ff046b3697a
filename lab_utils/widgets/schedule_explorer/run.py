"""Run training steps of a small GPT on real ranks in the order that ScheduleExplorer shows."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lab_utils.schedule import Draft, Schedule, simulate, why_not
from lab_utils.strategies.parity import Parity, parity
from lab_utils.strategies.pipeline.executed_order import executed, ops_of
from lab_utils.strategies.pipeline.measured_op_costs import measured_costs
from lab_utils.text import time_text
from lab_utils.timeline.timeline import Timeline, busy_text
from lab_utils.timeline.trace import Trace
from lab_utils.widgets.kit.background import Beside, Stopped
from lab_utils.widgets.schedule_explorer import words
from lab_utils.widgets.schedule_explorer.picture_data import nth_on_rank, packed
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
            *filter(None, [busy_text(self.trace)]),
        ]

    def about(self) -> dict[str, object]:
        """Return its text and the layout of its two figures, measured and predicted, for the browser."""
        placed = self.predicted.prediction.times
        s, lengths = self.schedule, [float(self.end.max()), float(placed.end_s.max())]
        return {
            "state": "done" if self.parity.equal else "differs", "says": self.sentences, "ranks": s.ranks,
            "stages": s.stages, "named": s.stages != s.ranks or s.copies > 1, "ops": len(s), "lengths": lengths,
            "lengths_text": [time_text(length) for length in lengths], "nth_on_rank": nth_on_rank(s),
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
    schedule = Schedule.of_steps(draft.name, draft.steps, draft.stages, draft.microbatches, draft.copies)
    trace = ranks.record(trained, schedule, STEPS, count=False, on_report=tell)
    reference = ranks.run(trained_serially, schedule.stages, schedule.microbatches, STEPS)[0]
    p = schedule.ranks
    trace = Trace(trace.ops[:p], trace.phases[:p], trace.results[:p], trace.others)
    return _read(schedule, trace, reference)


def _read(schedule: Schedule, trace: Trace, reference: dict) -> Run:
    each = np.diff(schedule.first).tolist()
    last = [op for phases, n in zip(trace.phases, each, strict=True) for op in list(ops_of(phases))[-n:]]
    start, end = np.array([op.start_s for op in last]), np.array([op.end_s for op in last])
    order = [executed(trace, step).orders == schedule.orders for step in range(STEPS)]
    return Run(
        schedule, parity(reference, trace.results), start - start.min(), end - start.min(),
        tuple(found["peak"] for found in trace.results), all(order), simulate(schedule, measured_costs(trace)), trace,
    )  # fmt: skip


class Runner:
    """Runs on the ranks, one at a time; `show` receives what the card says of a run, and its boxes when it is done.

    result   the last run that was done
    """

    def __init__(self, ranks: Ranks | None, show: Callable[[dict[str, object], bytes | None], object]) -> None:
        self._ranks = None if ranks is None else weakref.ref(ranks)  # weak: a widget must not keep ranks alive
        self._show, self._running = show, None
        self.result: Run | None = None

    def run(self, draft: Draft) -> str:
        """Run the order and compare it with serial training; return what went wrong as a sentence, or ""."""
        self._tell(0, {"step": 0})
        try:
            ran, error = run(self._given_ranks(), draft, self._tell), None
        except Exception as raised:  # any error of the ranks becomes a sentence in the card
            ran, error = None, raised
        except KeyboardInterrupt:
            self._end(None, Stopped())
            raise
        return self._end(ran, error)

    def run_beside(self, draft: Draft) -> None:
        """Run the order in a thread, unless one runs already."""
        if self._running is None:
            self._tell(0, {"step": 0})
            self._running = Beside(lambda tell: run(self._given_ranks(), draft, tell), self._tell, self._end)

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._show({"state": "running", "says": [words.STOPPING]}, None)

    def _tell(self, rank: int, now: dict[str, int]) -> None:
        if rank == 0:
            self._show({"state": "running", "says": [words.RUNNING.format(step=now["step"], steps=STEPS)]}, None)

    def _end(self, ran: Run | None, error: Exception | None) -> str:
        self._running = None
        if error is not None:
            says = words.RUN_STOPPED if isinstance(error, Stopped) else str(error).partition("\n")[0]
            says = says or type(error).__name__
            self._show({"state": "failed", "says": [says]}, None)
            return says
        self.result = ran
        self._show(ran.about(), ran.boxes())
        return "" if ran.parity.equal else ran.parity.verdict

    def _given_ranks(self) -> Ranks:
        if self._ranks is None:
            raise ValueError(words.NO_RANKS)
        if (ranks := self._ranks()) is None:
            raise ValueError(words.LOST_RANKS)
        return ranks
