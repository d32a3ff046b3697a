"""Whether the system killed a process for want of memory: it counts, per control group or for the whole machine."""

from __future__ import annotations

from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class MemoryKills:
    """Counts kills from where this process is limited; `new()` tells how many came since it was asked last."""

    def __init__(self, proc: Path = _PROC, cgroups: Path = _CGROUPS):
        self._files = [file for file in _counters(proc, cgroups) if _count(file) is not None]
        self._seen = self._counts()

    def new(self) -> int:
        """Kills since the last time; 0 on a system that does not count them."""
        before, self._seen = self._seen, self._counts()
        return max((now - then for now, then in zip(self._seen, before, strict=True)), default=0)

    def _counts(self) -> list[int]:
        return [_count(file) or 0 for file in self._files]


def _counters(proc: Path, cgroups: Path) -> list[Path]:
    """Files with a line "oom_kill N": of this process's control groups (v2 and v1) and of the machine."""
    files = [proc / "vmstat"]
    own = proc / "self" / "cgroup"
    for line in own.read_text(encoding="utf-8").splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files.append(cgroups / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(cgroups / "memory" / path.lstrip("/") / "memory.oom_control")
    return files


def _count(file: Path) -> int | None:
    try:
        with open(file, "rb", buffering=0) as counters:  # read at every call on the ranks
            said = b"\n" + counters.read()
    except OSError:  # no such counter on this system, or not for us to read
        return None
    _, found, after = said.partition(b"\noom_kill ")
    return int(after.split(None, 1)[0]) if found else None
