"""Long work that a widget has in a thread of its own, so that the kernel goes on and the work can be stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class Stopped(Exception):
    """Nobody wants the result any more."""


class Beside:
    """Begins at once; to be made where an event loop runs, as in what a browser's message calls.

    work   (tell) -> result; tell(...) raises Stopped once it is to stop
    tell   takes what the work tells, and
    end    its result and no error, or no result and the error: the event loop calls both, in turn with all else
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
        """Ask it to stop; nothing more is told, and it ends with Stopped when it next wants to tell something."""
        self._stopped.set()

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._work(self._told)
        except Exception as raised:  # whatever it is, `end` is to know
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
            if not self._loop.is_closed():  # else the kernel has ended, and nobody is there to be told
                raise

    def _tell_unless_stopped(self, *now: object) -> None:
        if not self._stopped.is_set():
            self._tell(*now)
