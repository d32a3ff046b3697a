"""Checks made before any process is started, so that a bad request costs nothing."""

from __future__ import annotations

import importlib.util
import sys

from lab_utils.host import machine, memory_limits
from lab_utils.ranks.diagnosis.errors import StartError
from lab_utils.text import counted, verb


def check_request(ranks: object, timeout_s: object = 30.0) -> int:
    """Return the number of ranks if they can be started here, else StartError: one sentence with numbers and fix."""
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise StartError(f"start_ranks({ranks!r}): the number of ranks must be a whole number from 1 up, such as 4")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s > 0:
        raise StartError(
            f"timeout_s={timeout_s!r}: the group's time-out must be a number of seconds above 0, such as 30"
        )
    if importlib.util.find_spec("torch") is None:
        raise StartError(
            f"torch is not installed for {sys.executable}: run `make lab` once, or `pip install torch` there"
        )
    if trouble := machine.trouble():
        raise StartError(trouble)
    free = memory_limits.free_bytes()
    if ranks > memory_limits.most_ranks(free):
        needed = memory_limits.SHARED_BYTES + ranks * memory_limits.RANK_BYTES
        need = f"{counted(ranks, 'rank')} {verb(ranks, 'need')}"
        mend = f"start at most {most}" if (most := memory_limits.most_ranks(free)) else "end other programs first"
        raise StartError(f"{need} about {needed / 2**20:.0f} MB and {free / 2**20:.0f} MB are free: {mend}")
    if trouble := machine.files_trouble(ranks):
        raise StartError(trouble)
    return ranks
