"""Run a widget's long work in a thread, so that it does not block the kernel and can be stopped."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any


class Stopped(Exception):
    """The work was stopped: its result is no longer needed."""


def weakly(method: Callable[..., object]) -> Callable[..., None]:
    """Return a call of the bound method that does not keep its object alive, and does nothing once it is gone.

    A widget gives it to its parts: else it and they would hold each other until a garbage collection.
    """
    kept = weakref.WeakMethod(method)

    def call(*args: object) -> None:
        if (alive := kept()) is not None:
            alive(*args)

    return call


class Beside:
    """A thread that starts at once; create it in a running event loop, as in a handler of browser messages.

    work   (tell) -> result; tell(...) raises Stopped after stop()
    tell   receives the work's progress
    end    receives (result, None) or (None, error); both callbacks run in the event loop
    """

    def __init__(
        self,
        work: Callable[[Callable[..., None]], Any],
        tell: Callable[..., object],
        end: Callable[[Any, Exception | None], object],
    ) -> None:
        self._work, self._tell, self._end = work, tell, end
        self._stopped = threading.Event()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True, name="beside the kernel").start()

    def stop(self) -> None:
        """Request a stop: no more progress is reported, and the work ends with Stopped at its next tell()."""
        self._stopped.set()

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._work(self._told)
        except Exception as raised:  # passed on to `end`
            error = raised
        self._soon(self._end, result, error)

    def _told(self, *now: object) -> None:
        if self._stopped.is_set():
            raise Stopped
        self._soon(self._tell_unless_stopped, *now)

    def _soon(self, call: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            if not self._loop.is_closed():  # else the kernel has ended
                raise

    def _tell_unless_stopped(self, *now: object) -> None:
        if not self._stopped.is_set():
            self._tell(*now)
