"""`@compiled(signature)`: numba's njit, compiled at import and cached on disk where possible."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit
from numba.core.caching import FunctionCache

OPTIONS = {"nogil": True, "boundscheck": False}


def compiled(signature: str) -> Callable[[Callable], Callable]:
    """Compile a function of this signature eagerly, or load it from numba's cache.

    The cache is in NUMBA_CACHE_DIR, beside the source or in the user's cache folder. If none is writable, each
    process compiles for itself, which takes some seconds. A cache file truncated by a full disk or a kill is
    rebuilt: numba alone would fail on it at every import.
    """

    def compile_or_load(function: Callable) -> Callable:
        try:
            cache = FunctionCache(function)
        except RuntimeError:  # "no locator available": no cache folder is writable
            return njit(signature, **OPTIONS)(function)
        try:
            return njit(signature, cache=True, **OPTIONS)(function)
        except Exception:  # pickle and LLVM raise many types for a broken file; real errors are raised again below
            cache.flush()
            return njit(signature, cache=True, **OPTIONS)(function)

    return compile_or_load
