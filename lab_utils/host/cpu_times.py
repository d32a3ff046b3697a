"""How much CPU time this process has used, and all processes together: is the machine busy with something else?

Standard library only. A rank reads it at begin and end of a recording.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STAT = Path("/proc/stat")
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; guests are in user (proc(5))
LEAST_S = 0.1  # /proc/stat counts in hundredths of a second
LEAST_SHARE = 0.2  # of the cores, below which nothing is said


class CpuTimes(NamedTuple):
    """Seconds: of a clock, of this process's threads, of all processes on the `cores` that this one may use."""

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
        told = STAT.read_text(encoding="ascii")
    except OSError:  # no such file, or not for this user
        return None
    mine = os.sched_getaffinity(0)
    ticks = 0
    for line in told.splitlines():
        name, *counts = line.split()
        if name[3:].isdigit() and name.startswith("cpu") and int(name[3:]) in mine:
            ticks += sum(int(counts[at]) for at in _BUSY)
    return CpuTimes(time.perf_counter(), time.process_time(), ticks / os.sysconf("SC_CLK_TCK"), len(mine))


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
