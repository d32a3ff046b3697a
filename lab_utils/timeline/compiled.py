"""`@compiled(signature)`: numba's njit, compiled at import, once per machine wherever that can be kept."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit
from numba.core.caching import FunctionCache

OPTIONS = {"nogil": True, "boundscheck": False}


def compiled(signature: str) -> Callable[[Callable], Callable]:
    """Compile a function of this signature now, or load what was compiled before.

    numba keeps it in NUMBA_CACHE_DIR, beside the source or in the user's cache folder. Where it can write to none of
    them, each process compiles for itself, which takes some seconds. A file that was cut short, by a full disk or a
    kill, is made anew: numba alone would fail on it at every import.
    """

    def compile_or_load(function: Callable) -> Callable:
        try:
            cache = FunctionCache(function)
        except RuntimeError:  # "no locator available": no folder can be written
            return njit(signature, **OPTIONS)(function)
        try:
            return njit(signature, cache=True, **OPTIONS)(function)
        except Exception:  # pickle and LLVM have many for a broken file; an error of the code comes again below
            cache.flush()
            return njit(signature, cache=True, **OPTIONS)(function)

    return compile_or_load
