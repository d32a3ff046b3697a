"""Stands for ranks that a table shows: what they say is given, and what the table sends of it is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lab_utils.ranks.status import RankStatus, Status
from lab_utils.widgets import RanksStatus

LONG_S = 600.0
EVERY_S = 0.02
IN_OP = "in all_reduce #7 of shape [4] on world (train.py:41)"


class Told(Status):
    """A status whose diagnosis is given."""

    says = ""


def status(*doing: str, for_s: float = 3.2, waits: dict[int, str] | None = None, says: str = "") -> Told:
    """One rank for each of `doing`."""
    told = Told(
        RankStatus(rank, 100 + rank, what != "gone", 2**20 * 77, what, for_s, (waits or {}).get(rank, ""))
        for rank, what in enumerate(doing)
    )
    told.says = says
    return told


class Scripted:
    """Stands for Ranks: says `now`, or raises it, and counts how often it was asked."""

    def __init__(self, now: Status | Exception, size: int = 2, cpu_s: float = 0.0):
        self.now, self.size, self.cpu_s = now, size, cpu_s
        self.running, self.asked = True, 0

    def status(self) -> Status:
        self.asked += 1
        until_s = time.thread_time() + self.cpu_s
        while time.thread_time() < until_s:
            pass
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


class Sent:
    """The states that a table sends from now on."""

    def __init__(self, table: RanksStatus):
        self.states: list[dict] = []
        self._changed = threading.Condition()
        table.observe(self._note, "state")

    def _note(self, change: dict) -> None:
        with self._changed:
            self.states.append(change["new"])
            self._changed.notify()

    def until(self, fits: Callable[[dict], bool]) -> dict:
        """The first that fits."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(fits, self.states)), LONG_S), self.states
            return next(filter(fits, self.states))


def ended(table: RanksStatus) -> bool:
    table._thread.join(LONG_S)
    return not table._thread.is_alive()


def looks(ranks: Scripted, more: int) -> None:
    """Wait until the ranks were asked so often again."""
    until, give_up_s = ranks.asked + more, time.monotonic() + LONG_S
    while ranks.asked < until:
        assert time.monotonic() < give_up_s, f"asked {ranks.asked} times, not {until}"
        time.sleep(EVERY_S)
