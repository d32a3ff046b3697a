"""ScheduleExplorer's runs on real ranks: in a cell, or beside the kernel where a browser asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import traitlets

from lab_utils.widgets.background import Beside, Stopped
from lab_utils.widgets.schedule_explorer_run import STEPS, Run, run

if TYPE_CHECKING:
    from lab_utils.ranks import Ranks


class RunsOnRanks(traitlets.HasTraits):
    """A widget's runs, at most one at a time for a browser; `result` is the last one."""

    _runs = traitlets.Int(0).tag(sync=True)  # how often the browser asked for a run, and to stop one
    _run_stops = traitlets.Int(0).tag(sync=True)
    _ran = traitlets.Dict().tag(sync=True)
    _ran_boxes = traitlets.Bytes().tag(sync=True)
    result: Run | None = None
    _running: Beside | None = None

    def run(self) -> str:
        """Run the order on the ranks and compare it with serial training; what went wrong in a sentence, or ""."""
        self._tell_run(0, {"step": 0})
        try:
            ran, error = run(self._given_ranks(), self.schedule, self._tell_run), None
        except Exception as raised:  # whatever ranks raise is a sentence in the card
            ran, error = None, raised
        except KeyboardInterrupt:
            self._show_run(None, Stopped())
            raise
        return self._show_run(ran, error)

    def _run_beside(self) -> None:
        if self._running is None:
            self._tell_run(0, {"step": 0})
            schedule = self.schedule  # whatever is set meanwhile
            self._running = Beside(
                lambda tell: run(self._given_ranks(), schedule, tell), self._tell_run, self._show_run
            )

    def _tell_run(self, rank: int, now: dict[str, int]) -> None:
        if rank == 0:
            self._ran = {"state": "running", "says": [f"The ranks run it: {now['step']} of {STEPS} steps are done."]}

    def _show_run(self, ran: Run | None, error: Exception | None) -> str:
        self._running = None
        if error is not None:
            says = "The run was stopped." if isinstance(error, Stopped) else str(error).partition("\n")[0]
            self._ran = {"state": "failed", "says": [says or type(error).__name__]}
            return self._ran["says"][0]
        self.result, self._ran_boxes, self._ran = ran, ran.boxes(), ran.about()
        return "" if ran.parity.equal else ran.parity.verdict

    def _given_ranks(self) -> Ranks:
        if self._ranks is None:
            raise ValueError("no ranks were given: ScheduleExplorer(ranks) has a button that runs it")
        if (ranks := self._ranks()) is None:
            raise ValueError("nobody has these ranks any more, so they were stopped: start others")
        return ranks

    @traitlets.observe("_runs")
    def _asked_for_run(self, _: object) -> None:
        self._run_beside() if self._from_browser else self.run()

    @traitlets.observe("_run_stops")
    def _asked_to_stop_the_run(self, _: object) -> None:
        if self._running is not None:
            self._running.stop()
            self._ran = {"state": "running", "says": ["The ranks stop after this step."]}
