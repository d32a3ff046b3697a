"""Ctrl-C: delayed where it would break or be lost, and passed to ranks that have not begun the call."""

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

# An interrupt raises one KeyboardInterrupt per rank, which may save its work then. A rank still running after this time
# is interrupted again: Python drops exceptions in destructors and callbacks.
INTERRUPT_AGAIN_S = 30.0
_POSTPONED_S = 0.002


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay the first Ctrl-C to the end of the block; a second one takes effect at once."""
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
    """The number of the last call that ranks must not begin any more, in shared memory.

    A rank handles signals only during a call; one sent earlier would be lost. So the number is written before the
    signal is sent, and a rank reads it after installing its handler.
    """

    @classmethod
    def create(cls, folder: Path) -> CalledOff:
        (folder / "called-off").write_bytes(bytes(8))
        made = cls()
        made.attach(folder)
        return made

    def attach(self, folder: Path | str) -> None:
        with open(f"{folder}/called-off", "r+b") as file:
            self._number = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")  # writing one word is atomic

    @property
    def last(self) -> int:
        return self._number[0]

    def up_to(self, number: int) -> None:
        self._number[0] = number


class Postponed:
    """Interrupts on a rank that came where C++ would have turned them into another error, or lost them.

    They are sent again a moment later; there is no event for C++ having returned.

    interrupts   how many have come, sent again or not
    """

    def __init__(self) -> None:
        self.interrupts = 0
        self._timer: threading.Timer | None = None

    @property
    def pending(self) -> bool:
        """Whether one is still to be sent again."""
        return self._timer is not None and self._timer.is_alive()

    def postpone(self, frame: FrameType | None) -> bool:
        """Send the signal again later if this code or a caller loses exceptions; return whether it does."""
        from lab_utils.comm.process_group.interruptible_wait import losing_exceptions

        self.interrupts += 1
        losing = losing_exceptions()
        while frame is not None and frame.f_code not in losing:
            frame = frame.f_back
        if frame is None:
            return False
        self._timer = threading.Timer(_POSTPONED_S, os.kill, (os.getpid(), signal.SIGINT))
        self._timer.daemon = True
        self._timer.start()
        return True

    def end(self) -> None:
        """Cancel a postponed signal; none is pending afterwards."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._timer = None


def heed_interrupts_after_backward(postponed: Postponed) -> None:
    """Let an interrupt take precedence over an error of backward, where DDP waits in C++ without signals.

    Ranks are interrupted together: the first to leave causes an error on the others, whose reason is the interrupt. It
    may be postponed still, or be lost: raised in a destructor that ran while C++ returned.
    """
    from torch import autograd

    run = autograd._engine_run_backward

    @wraps(run)
    def run_backward(*args: Any, **kwargs: Any) -> Any:
        before = postponed.interrupts - postponed.pending
        try:
            return run(*args, **kwargs)
        except RuntimeError as error:
            if postponed.interrupts == before:
                raise
            postponed.end()
            raise KeyboardInterrupt from error

    autograd._engine_run_backward = run_backward
