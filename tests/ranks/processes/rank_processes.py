"""What belongs to ranks, seen from outside: their processes and their folder, and waiting for both to be gone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from lab_utils.ranks.processes.reaper import still_running

GONE_S = 600.0  # a process that stays would stay for ever


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


def listening(pid: int | None = None) -> set[tuple[str, int]]:
    """Address and port of every TCP socket at which this process, or that one, and all below it listen."""
    return {
        tuple(connection.laddr)
        for process in [psutil.Process(pid), *below(pid)]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def with_temp(place: Path) -> set[psutil.Process]:
    """Every process that was started with this folder for its temporary files, whoever its parent is by now."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is another user's
            if process.environ().get("TMPDIR") == str(place):
                found.add(process)
    return found


def assert_gone(processes: Iterable[psutil.Process]) -> None:
    """Every one ends within GONE_S. The reaper, which is among them, deletes the folder before it ends.

    Orphans are the system's to collect, in its own time: until then they are zombies, which have ended.
    """
    assert still_running(list(processes), GONE_S) == []
