"""Tells SIGINTs apart: a fault, the time limit of a call, or the user's Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FAULT, _OVERDUE = "fault", "overdue"


class Overdue(RuntimeError):
    """A call did not end within the time that the soak gives it."""


class Interrupts:
    """Handles every SIGINT of this process while entered, in the main thread.

    by_user   whether one came that was not sent here
    """

    def __init__(self) -> None:
        self.by_user = False
        self._sent: deque[str] = deque()
        self._awaited = False
        self._overdue_text = ""

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _take(self, *_: object) -> None:
        reason = self._sent.popleft() if self._sent else ""
        if reason == _OVERDUE:
            raise Overdue(self._overdue_text)
        if reason == _FAULT and not self._awaited:  # its call has already ended
            return
        if not reason:
            self.by_user = True
        raise KeyboardInterrupt

    def _send(self, reason: str) -> None:
        self._sent.append(reason)
        os.kill(os.getpid(), signal.SIGINT)

    def send(self) -> None:
        """Interrupt the main thread as a notebook's stop button does, if it is inside `awaited`."""
        self._send(_FAULT)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Let `send` interrupt the call inside the block."""
        self._awaited = True
        try:
            yield
        finally:
            self._awaited = False

    @contextmanager
    def limit(self, seconds: float, describe: Callable[[], object]) -> Iterator[None]:
        """Raise Overdue, with the text of `describe()`, when the block has not ended after `seconds`."""
        timer = threading.Timer(seconds, self._end_it, (seconds, describe))
        timer.daemon = True  # an interrupt inside start() leaves a lock held, on which Python's exit would wait
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # none of its interrupts is pending afterwards
            self._sent.clear()

    def _end_it(self, seconds: float, describe: Callable[[], object]) -> None:
        self._overdue_text = f"not over after {seconds:g} s"
        try:
            self._overdue_text += f":\n{describe()}"
        finally:
            self._send(_OVERDUE)
