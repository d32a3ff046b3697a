"""How much CPU time this process and its own have used, and all together: is the machine busy with something else?

Standard library only. A rank reads it at begin and end of a recording.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_BUSY = (0, 1, 2, 5, 6, 7)  # of /proc/stat: user, nice, system, irq, softirq, steal; guests are in user (proc(5))
_RAN = slice(11, 15)  # of /proc/PID/stat, behind the name: user and system, then those of its ended children
LEAST_S = 0.1  # /proc/stat counts in hundredths of a second
LEAST_SHARE = 0.2  # of the cores, below which nothing is said


class CpuTimes(NamedTuple):
    """Seconds: of a clock, of this process and those that it has started, of all on the `cores` that it may use.

    Those that it has started are, for example, the workers of a DataLoader.
    """

    wall_s: float
    own_s: float
    all_s: float
    cores: int

    def since(self, begin: CpuTimes) -> CpuTimes:
        times_s = (now - before for now, before in zip(self[:3], begin[:3], strict=True))
        return CpuTimes(*times_s, self.cores)


def cpu_times() -> CpuTimes | None:
    """Return the times until now; None where the system does not tell them."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    try:
        told = (PROC / "stat").read_text(encoding="ascii")
    except OSError:  # no such file, or not for this user
        return None
    mine = os.sched_getaffinity(0)
    ticks, ticks_per_s = 0, os.sysconf("SC_CLK_TCK")
    for line in told.splitlines():
        name, *counts = line.split()
        if name[3:].isdigit() and name.startswith("cpu") and int(name[3:]) in mine:
            ticks += sum(int(counts[at]) for at in _BUSY)
    running_s = sum(map(_ran, _children("self"))) / ticks_per_s
    ended = os.times()
    own_s = time.process_time() + running_s + ended.children_user + ended.children_system
    return CpuTimes(time.perf_counter(), own_s, ticks / ticks_per_s, len(mine))


def _children(pid: str) -> Iterator[str]:
    """Yield the processes that this one has started and that have not been waited for."""
    for path in (PROC / pid / "task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            yield from path.read_text(encoding="ascii").split()


def _ran(pid: str) -> int:
    """Return the ticks for which a process, and those that it has started, ran; 0 if it has just ended."""
    with suppress(OSError):
        own = (PROC / pid / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return sum(map(int, own[_RAN])) + sum(map(_ran, _children(pid)))
    return 0


def taken_by_others(used: Sequence[CpuTimes]) -> tuple[float, int] | None:
    """Return (cores that other processes took, cores there are) while the ranks used these times.

    None if the machine was not busy: others took little, or left a core for each rank; or if it was too short to tell.
    """
    wall_s = max((each.wall_s for each in used), default=0.0)
    if wall_s < LEAST_S:
        return None
    longest = max(used, key=lambda each: each.wall_s)
    others = (longest.all_s - sum(each.own_s for each in used)) / wall_s
    if others < LEAST_SHARE * longest.cores or longest.cores - others >= len(used):
        return None
    return others, longest.cores
