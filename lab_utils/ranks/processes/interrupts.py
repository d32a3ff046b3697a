"""Ctrl-C: held back for moments that would leave something half done or lose it, and told ranks that have not begun."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

_POSTPONED_S = 0.002


@contextmanager
def interrupts_held() -> Iterator[None]:
    """The first Ctrl-C inside takes effect at the end; a second one at once."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    pressed = []

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(signal.SIGINT, None)


class CalledOff:
    """The number of the last call that ranks are not to begin any more, in memory that they share.

    A rank heeds signals only during a call, and one that was sent before would be lost. So the number is written
    first, and read by a rank that begins after it heeds signals.
    """

    @classmethod
    def create(cls, folder: Path) -> CalledOff:
        (folder / "called-off").write_bytes(bytes(8))
        made = cls()
        made.attach(folder)
        return made

    def attach(self, folder: Path | str) -> None:
        with open(f"{folder}/called-off", "r+b") as file:
            self._number = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")  # a word is stored whole

    @property
    def last(self) -> int:
        return self._number[0]

    def up_to(self, number: int) -> None:
        self._number[0] = number


class Postponed:
    """On a rank: interrupts that came where C++ would have made another error of them, or none.

    They come again a moment later. No event tells when C++ has returned.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def postpone(self, frame: FrameType | None) -> bool:
        """Whether this code, or what called it, loses exceptions: the signal comes again then."""
        from lab_utils.comm.process_group.interruptible_wait import losing_exceptions

        losing = losing_exceptions()
        while frame is not None and frame.f_code not in losing:
            frame = frame.f_back
        if frame is None:
            return False
        self._timer = threading.Timer(_POSTPONED_S, os.kill, (os.getpid(), signal.SIGINT))
        self._timer.daemon = True
        self._timer.start()
        return True

    def wait(self) -> None:
        """Until it has come again."""
        if self._timer is not None:
            self._timer.join()

    def end(self) -> None:
        """From here on none of them is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._timer = None


def heed_interrupts_after_backward(postponed: Postponed) -> None:
    """Let an interrupt go before an error of the backward: DDP waits in C++ there, where no signal is heeded.

    Ranks are interrupted together. The first to leave would be an error on the others, and they would never know why.
    """
    from torch import autograd

    run = autograd._engine_run_backward

    @wraps(run)
    def run_backward(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except RuntimeError:
            postponed.wait()  # in which Python looks for signals
            raise

    autograd._engine_run_backward = run_backward
