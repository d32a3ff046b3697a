"""Searches of ScheduleExplorer: they show progress, can be stopped, and do not keep the kernel from other work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import isfinite

import traitlets

from lab_utils.schedule import Found, search
from lab_utils.schedule.pauses import amount
from lab_utils.schedule.search.search import Progress
from lab_utils.widgets.kit.background import Beside, Stopped
from lab_utils.widgets.schedule_explorer.choice import Setting, chunks_of

MOST_KEPT = 64
_KEPT: dict[tuple[Setting, str], Found] = {}

STOPPED = "The search was stopped: the picture is still that of before."


def found(setting: Setting, stage_layout: str, progress: Callable[[Progress], object] | None = None) -> Found:
    """The search's result, with its bound; kept, as a reader goes back and forth. ValueError for what cannot be."""
    key = setting, stage_layout
    if key not in _KEPT:
        chunks = chunks_of(stage_layout, setting.v)
        sizes = setting.p, setting.m, setting.costs.divided(chunks), setting.limit
        _KEPT[key] = search(*sizes, stage_layout=stage_layout, chunks=chunks, progress=progress)
        for old in list(_KEPT)[:-MOST_KEPT]:
            del _KEPT[old]
    return _KEPT[key]


class Searches(traitlets.HasTraits):
    """A widget's searches, at most one at a time.

    What Python sets is searched at once, and an interrupt ends it. For what a browser sets the search runs in a thread
    of its own, as numba's loops let the kernel go on: `_follow` is called again when its result is known.
    """

    _searching = traitlets.Dict().tag(sync=True)  # part and words of how far it is; {} when there is none
    _stops = traitlets.Int(0).tag(sync=True)  # how often the browser asked to stop one
    _search: Beside | None = None
    _from_browser = False

    def set_state(self, sync_data: dict) -> None:
        self._from_browser = True
        try:
            super().set_state(sync_data)
        finally:
            self._from_browser = False

    def stop_search(self) -> bool:
        """Let go of the search that runs beside the kernel; whether there was one."""
        if self._search is None:
            return False
        self._search.stop()
        self._search, self._searching = None, {}
        return True

    @traitlets.observe("_stops")
    def _asked_to_stop(self, _: object) -> None:
        if self.stop_search():
            self.says = STOPPED

    def _is_there(self, setting: Setting, stage_layout: str | None) -> bool:
        """Whether the result is known now; False: it will be later. None: nothing is searched."""
        if stage_layout is None or (setting, stage_layout) in _KEPT:
            return True
        self._tell(Progress(0.0, float("inf")))
        if self._from_browser:
            self._search = Beside(lambda tell: found(setting, stage_layout, tell), self._tell, self._end_search)
            return False
        try:
            with suppress(ValueError):  # raised again where the result is shown
                found(setting, stage_layout, self._tell)
        except KeyboardInterrupt:
            self.says = STOPPED
            raise
        finally:
            self._searching = {}
        return True

    def _tell(self, now: Progress) -> None:
        best = f", the shortest so far is {amount(now.length)}" if isfinite(now.length) else ""
        self._searching = {"part": now.part, "says": f"Searching: {100 * now.part:.0f} %{best}"}

    def _end_search(self, _: Found | None, error: Exception | None) -> None:
        if isinstance(error, Stopped):
            return  # another may be under way
        self.stop_search()
        if error is None:
            self._follow()
        else:
            self.says = str(error) or type(error).__name__
