"""How much memory this process may still use: the machine's, or less under a container's limit.

A Binder session sees a host of 100 GB and is killed at 2 GB: only the cgroup has that limit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
OWN_CGROUP = PROC / "self" / "cgroup"


def _own_cgroups(own: Path, cgroups: Path) -> Iterator[tuple[bool, Path, PurePosixPath]]:
    """Yield this process's cgroups that count memory: (is it of version 2, where that is mounted, its path there)."""
    for line in own.read_text(encoding="utf-8").splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            yield controllers == "", cgroups / ("memory" if controllers else ""), PurePosixPath(path.lstrip("/"))


class MemoryKills:
    """Counts OOM kills in this process's cgroups and on the machine; `new()` returns those since its last call."""

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS):
        self._files = [file for file in _counters(proc, cgroups) if _count(file) is not None]
        self._seen = self._counts()

    def new(self) -> int:
        """Return the kills since the last call; 0 on a system that does not count them."""
        before, self._seen = self._seen, self._counts()
        return max((now - then for now, then in zip(self._seen, before, strict=True)), default=0)

    def _counts(self) -> list[int]:
        return [_count(file) or 0 for file in self._files]


def _counters(proc: Path, cgroups: Path) -> list[Path]:
    """Return files with a line "oom_kill N": of this process's cgroups (v2 and v1) and of the machine."""
    own = _own_cgroups(proc / "self" / "cgroup", cgroups)
    of_cgroups = (mount / path / ("memory.events" if v2 else "memory.oom_control") for v2, mount, path in own)
    return [proc / "vmstat", *of_cgroups]


def _count(file: Path) -> int | None:
    try:
        with open(file, "rb", buffering=0) as counters:  # unbuffered: read at every call on the ranks
            said = b"\n" + counters.read()
    except OSError:  # no such counter, or not readable
        return None
    _, found, after = said.partition(b"\noom_kill ")
    return int(after.split(None, 1)[0]) if found else None


# In a cgroup's folder: the file of its limit, that of its memory, and the line of memory.stat on reclaimable cache.
_V2 = "memory.max", "memory.current", "inactive_file"
_V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
NO_LIMIT_BYTES = 1 << 60  # version 1 writes "no limit" as a number near 2**63

# Measured with torch 2.13 on Linux, shared pages counted once, after one AdamW step of a small model: 575 and
# 753 MB with 4 and 8 forked ranks; 1,126 and 2,071 MB without fork, where each rank loads its own torch.
FORKS = sys.platform == "linux"
SHARED_BYTES = (400 if FORKS else 200) * 2**20
RANK_BYTES = (50 if FORKS else 240) * 2**20


@dataclass(frozen=True)
class Cgroup:
    """A memory limit and the memory counted against it now, without reclaimable file cache."""

    limit_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        return max(0, self.limit_bytes - self.used_bytes)


def tightest_cgroup(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> Cgroup | None:
    """Return the cgroup with the least memory left, ours or an ancestor; None where none sets a limit."""
    found = []
    for v2, mount, path in _own_cgroups(own, cgroups):
        found += [_read(mount / folder, *(_V2 if v2 else _V1)) for folder in (path, *path.parents)]
    return min((group for group in found if group), key=lambda group: group.free_bytes, default=None)


def _read(folder: Path, limit_name: str, used_name: str, cache_name: str) -> Cgroup | None:
    limit_file = folder / limit_name
    if not limit_file.exists():
        return None
    limit = limit_file.read_text(encoding="utf-8").strip()
    if limit == "max" or int(limit) >= NO_LIMIT_BYTES:
        return None
    stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    used = int((folder / used_name).read_text(encoding="utf-8")) - int(stat.get(cache_name, 0))
    return Cgroup(int(limit), max(0, used))


def free_bytes() -> int:
    """Return the bytes that new processes may use before this machine swaps or its container's limit kills them."""
    import psutil

    group = tightest_cgroup()
    available = psutil.virtual_memory().available
    return min(available, group.free_bytes) if group else available


def most_ranks(free: int) -> int:
    """Return how many ranks with a small model fit in `free` bytes, engines and controller included."""
    return max(0, (free - SHARED_BYTES) // RANK_BYTES)
