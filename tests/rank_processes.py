"""What belongs to ranks, seen from outside: their processes and their folder, and waiting for both to be gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from lab_utils.ranks.reaper import still_running

GONE_S = 20.0  # far more than it takes; a process that stays would stay for ever


def below(pid: int | None = None) -> list[psutil.Process]:
    """Every process that this one, or that with the given number, started."""
    return psutil.Process(pid).children(recursive=True)


def started_by(action: Callable[[], Any]) -> tuple[Any, list[psutil.Process]]:
    """What the action returns, and the processes that are there since."""
    before = set(below())
    result = action()
    return result, [process for process in below() if process not in before]


def folders(place: Path) -> list[Path]:
    return sorted(place.glob("lab-ranks-*"))


def assert_gone(processes: Iterable[psutil.Process]) -> None:
    """Every one ends within GONE_S. The reaper, which is among them, deletes the folder before it ends.

    Orphans are the system's to collect, in its own time: until then they are zombies, which have ended.
    """
    assert still_running(list(processes), GONE_S) == []
