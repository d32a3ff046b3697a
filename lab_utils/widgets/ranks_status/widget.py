"""A table of what every rank is doing, updated while a cell waits for the ranks."""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from lab_utils.render.palette import ACTIVITIES, LANE, QUIET_INK, STRONG, WHITE
from lab_utils.timeline.timeline import SVG
from lab_utils.widgets.kit.assets import script_and_styles
from lab_utils.widgets.ranks_status import sentences, words
from lab_utils.widgets.ranks_status.picture import still

if TYPE_CHECKING:
    from lab_utils.ranks import Ranks
    from lab_utils.ranks.status import RankStatus, Status

MOST_LOAD = 0.05  # maximum share of one core for polling: ranks need the cores, and reading a rank's memory is slow
FOLDER = Path(__file__).parent

# Mark of each state, distinct by shape as well: [character, ground, ink].
MARKS = {
    "idle": ["○", LANE, QUIET_INK],
    "computing": ["▶", ACTIVITIES["compute"].fill, ACTIVITIES["compute"].ink],
    "in": ["⇄", ACTIVITIES["communication"].fill, ACTIVITIES["communication"].ink],
    "waiting": ["…", ACTIVITIES["waiting"].fill, ACTIVITIES["waiting"].ink],
    "stopped": ["■", STRONG, WHITE],
    "gone": ["✕", STRONG, WHITE],
}


class RanksStatus(anywidget.AnyWidget):
    """What every rank is doing, for how long and which ranks it waits for, also while a cell runs or hangs.

    >>> RanksStatus(ranks)      # last line of a cell: the table, under it until the notebook's kernel ends
    >>> RanksStatus(ranks).close()

    A thread polls every `every_s` seconds, less often if polling would take more than a twentieth of a core, and sends
    changes. It ends with `close()` or when the ranks are garbage-collected; ranks that restart are shown again.
    ValueError unless every_s > 0.
    """

    _esm, _css = script_and_styles(FOLDER / "widget", "dom", "card", "parts/alive", words=words.SCRIPT)
    marks = traitlets.Dict(MARKS).tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)
    # {"rows": [[mark, rank, memory, doing, for how long, waits for], ...], "says": a sentence, "alarm": bool}
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, ranks: Ranks, every_s: float = 0.5) -> None:
        self._closed, self._lock = threading.Event(), threading.Lock()
        if not every_s > 0:
            raise ValueError(words.NO_TIME.format(every_s=every_s))
        self.every_s = every_s
        self._ranks = weakref.ref(ranks)
        self._name = sentences.status_of(ranks.size)
        self._looks = _looks_at(ranks)
        super().__init__(title=sentences.title(ranks.size))
        self._show(self._looks.latest(ranks, every_s))
        self._thread = threading.Thread(target=self._keep_up, daemon=True, name=self._name)
        self._thread.start()

    def close(self) -> None:
        """Remove the table and end its thread."""
        self._closed.set()
        with self._lock:  # nothing is sent to a closed table
            super().close()

    def _keep_up(self) -> None:
        while not self._closed.wait(self.every_s):
            ranks = self._ranks()
            if ranks is None:
                return self._show(_sentence(words.LOST))
            self._show(self._looks.latest(ranks, self.every_s))
            del ranks  # do not keep them alive while waiting

    def _show(self, state: dict) -> None:
        with self._lock:
            if not self._closed.is_set():
                self.state = state  # traitlets sends it only if it has changed

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Return the widget's view, and for use without a kernel a picture of what the ranks do now."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0][SVG] = still(self.title, self.state, MARKS).svg
        return bundle


class _Looks:
    """Polls some ranks for all tables that show them: a cell that ran ten times has left ten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: dict = {}
        self._at_s, self._cost_s = float("-inf"), 0.0

    def latest(self, ranks: Ranks, every_s: float) -> dict:
        """Return the table's state, at most every_s / 2 old unless polling is expensive."""
        with self._lock:
            if time.monotonic() - self._at_s >= max(every_s / 2, self._cost_s / MOST_LOAD):
                began_s = time.thread_time()
                self._state = _look(ranks)
                self._at_s, self._cost_s = time.monotonic(), time.thread_time() - began_s
            return self._state


_all_looks: weakref.WeakKeyDictionary[Ranks, _Looks] = weakref.WeakKeyDictionary()


def _looks_at(ranks: Ranks) -> _Looks:
    return _all_looks.setdefault(ranks, _Looks())


def _look(ranks: Ranks) -> dict:
    """Return the table's state; an error becomes a sentence in it, and the next poll may succeed."""
    try:
        if ranks.running:
            return _table(ranks.status())
    except Exception as error:
        if ranks.running:  # else they were stopped meanwhile
            said = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
            return _sentence(words.NO_LOOK.format(error=said), alarm=True)
    return _sentence(words.STOPPED)


def _sentence(says: str, alarm: bool = False) -> dict:
    return {"rows": [], "says": says, "alarm": alarm}


def _table(status: Status) -> dict:
    says = status.says or _concerns(status)
    rows = [
        [_mark(row), str(row.rank), _memory(row.memory_bytes) if row.alive else "", row.doing,
         _rounded(row.for_s) if row.alive else "", row.waits_for]
        for row in status
    ]  # fmt: skip
    return {"rows": rows, "says": says or _overall(status), "alarm": bool(says)}


def _mark(row: RankStatus) -> str:
    """Return the first word of what it is doing, or "waiting" if it waits for ranks in an op."""
    first = row.doing.split()[0]
    return "waiting" if first == "in" and row.waits_for else first


def _memory(size_bytes: int) -> str:
    return words.MEMORY.format(size=f"{size_bytes / 2**20:.0f}")


def _rounded(duration_s: float) -> str:
    """Format coarsely, since each change sends a message: after an hour only once per hour."""
    units = ((3600, words.HOURS), (60, words.MINUTES), (1, words.SECONDS))
    unit_s, said = next((unit for unit in units if duration_s >= unit[0]), units[-1])
    return said.format(count=int(duration_s / unit_s))


def _concerns(status: Status) -> str:
    """Return sentences about ranks that are gone or stopped, "" if there are none."""
    gone = [row.rank for row in status if _mark(row) == "gone"]
    stopped = [row.rank for row in status if _mark(row) == "stopped"]
    return " ".join([*([sentences.gone(gone)] if gone else ()), *([sentences.stopped(stopped)] if stopped else ())])


def _overall(status: Status) -> str:
    """Return a sentence without frequent changes, since a screen reader speaks it."""
    return words.AT_WORK if any(row.doing != "idle" for row in status) else words.IDLE
