"""ScheduleExplorer's searches: they show progress, can be stopped, and do not block the kernel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import isfinite

import traitlets

from lab_utils.schedule import Found
from lab_utils.schedule.search.search import Progress
from lab_utils.widgets.kit.background import Beside, Stopped
from lab_utils.widgets.schedule_explorer import words
from lab_utils.widgets.schedule_explorer.choice import Setting, searched

MOST_KEPT = 64
_KEPT: dict[tuple[Setting, str], Found] = {}


def found(setting: Setting, stage_layout: str, progress: Callable[[Progress], object] | None = None) -> Found:
    """Return the search's result with its bound, cached for revisits. ValueError for impossible settings."""
    key = setting, stage_layout
    if key not in _KEPT:
        _KEPT[key] = searched(setting, stage_layout, progress=progress)
        for old in list(_KEPT)[:-MOST_KEPT]:
            del _KEPT[old]
    return _KEPT[key]


class Searches(traitlets.HasTraits):
    """A widget's searches, at most one at a time.

    A setting from Python is searched synchronously, until done or interrupted; one from the browser in a thread, as
    numba's loops release the GIL: `_follow` is called again when its result is known.
    """

    _searching = traitlets.Dict().tag(sync=True)  # progress as fraction and text; {} if no search runs
    _stops = traitlets.Int(0).tag(sync=True)  # counts the browser's requests to stop
    _search: Beside | None = None
    _from_browser = False

    def set_state(self, sync_data: dict) -> None:
        self._from_browser = True
        try:
            super().set_state(sync_data)
        finally:
            self._from_browser = False

    def stop_search(self) -> bool:
        """Stop and drop the search in the thread; return whether there was one."""
        if self._search is None:
            return False
        self._search.stop()
        self._search, self._searching = None, {}
        return True

    @traitlets.observe("_stops")
    def _asked_to_stop(self, _: object) -> None:
        if self.stop_search():
            self.says = words.STOPPED

    def _is_there(self, setting: Setting, stage_layout: str | None) -> bool:
        """Return whether the result is known now, else it comes later. A stage_layout of None needs no search."""
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
            self.says = words.STOPPED
            raise
        finally:
            self._searching = {}
        return True

    def _tell(self, now: Progress) -> None:
        says = words.searching(now.part, now.length if isfinite(now.length) else None)
        self._searching = {"part": now.part, "says": says}

    def _end_search(self, _: Found | None, error: Exception | None) -> None:
        if isinstance(error, Stopped):
            return  # another search may be running
        self.stop_search()
        if error is None:
            self._follow()
        else:
            self.says = str(error) or type(error).__name__
