"""ScheduleExplorer's searches: their results are kept, and one in a thread can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lab_utils.schedule import Found
from lab_utils.schedule.search.search import Progress
from lab_utils.widgets.kit.background import Beside
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


def is_kept(setting: Setting, stage_layout: str) -> bool:
    return (setting, stage_layout) in _KEPT


class Search:
    """A search in a thread, at most one, as numba's loops release the GIL.

    tell   receives its progress
    end    receives None when `found` has the result, or the error; nothing of a search that was stopped
    """

    def __init__(self, tell: Callable[[Progress], object], end: Callable[[Exception | None], object]) -> None:
        self._tell, self._end = tell, end
        self._running: Beside | None = None
        self._started = 0

    def start(self, setting: Setting, stage_layout: str) -> None:
        self._started += 1
        ended = partial(self._ended, self._started)
        self._running = Beside(lambda tell: found(setting, stage_layout, tell), self._tell, ended)

    def _ended(self, number: int, _: Found | None, error: Exception | None) -> None:
        if self._running is not None and number == self._started:  # else stopped after its last `tell`, or by Stopped
            self._running = None
            self._end(error)

    def stop(self) -> bool:
        """Stop and drop the search; return whether there was one."""
        if self._running is None:
            return False
        self._running.stop()
        self._running = None
        return True
