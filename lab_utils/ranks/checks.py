"""What is checked before any process is started, so that a bad request costs nothing."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import psutil

from lab_utils.ranks.errors import StartError

# Measured: PSS after one AdamW step is 590 MB for 4 ranks and 785 MB for 8.
SHARED_BYTES = 400 * 2**20
RANK_BYTES = 50 * 2**20
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_USES = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def free_bytes() -> int:
    """Memory that ranks may take: the machine's, or the container's limit where that is lower (Binder: 2 GB)."""
    free = psutil.virtual_memory().available
    for limit_file, use_file in zip(_CGROUP_LIMITS, _CGROUP_USES, strict=True):
        limit, used = _number(limit_file), _number(use_file)
        if limit is not None and used is not None:
            free = min(free, limit - used)
    return free


def _number(file: str) -> int | None:
    """The number in the file; None where there is no such limit."""
    path = Path(file)
    text = path.read_text().strip() if path.is_file() else "max"
    return int(text) if text.isdigit() else None


def most_ranks(free: int) -> int:
    return max(0, (free - SHARED_BYTES) // RANK_BYTES)


def check_request(ranks: object) -> int:
    """The number of ranks, if it can be started here. StartError is one sentence with the numbers and the mend."""
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise StartError(f"start_ranks({ranks!r}): the number of ranks must be a whole number from 1 up, such as 4")
    if importlib.util.find_spec("torch") is None:
        raise StartError(
            f"torch is not installed for {sys.executable}: run `make lab` once, or `pip install torch` there"
        )
    free = free_bytes()
    if ranks > most_ranks(free):
        needed = SHARED_BYTES + ranks * RANK_BYTES
        need = "1 rank needs" if ranks == 1 else f"{ranks} ranks need"
        mend = f"start at most {most}" if (most := most_ranks(free)) else "end other programs first"
        raise StartError(f"{need} about {needed / 2**20:.0f} MB and {free / 2**20:.0f} MB are free: {mend}")
    return ranks


def threads_per_rank(ranks: int) -> int:
    return max(1, len(os.sched_getaffinity(0)) // ranks) if hasattr(os, "sched_getaffinity") else 1
