"""Backends that no group uses any more, kept until letting them go takes no time.

The end of a backend waits for its threads, and one of them may be in a wait that only the group's time-out ends.
"""

from __future__ import annotations

import time
from typing import Any

_AFTER_TIMEOUT_S = 5.0
_kept: list[tuple[float, Any]] = []


def retire(backend: Any, timeout_s: float) -> None:
    """Keep it until its time-out has passed, and let go of those whose time-out has."""
    now_s = time.monotonic()
    _kept[:] = [(until_s, kept) for until_s, kept in _kept if until_s > now_s]
    _kept.append((now_s + timeout_s + _AFTER_TIMEOUT_S, backend))
