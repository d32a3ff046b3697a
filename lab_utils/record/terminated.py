"""Do something before SIGTERM ends this process, also while its main thread is in C++ and runs no handler.

torchrun ends the ranks of a failed program with SIGTERM, and those wait in C++ for the one that failed. An interrupt it
passes on as SIGINT, and kills those that have not ended 30 s later.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_dying = threading.Lock()


def before_sigterm(leave: Callable[[], None]) -> None:
    """Call `leave` when SIGTERM comes, from whichever thread, then die of it as if nobody had asked.

    SIGINT calls `leave` too, and goes on as it would. A program that handles SIGTERM itself, now or later, goes
    before: then nothing is done here.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if not _dying.acquire(blocking=False):  # the other thread is at it, or this one is and the signal came again
            return
        try:
            leave()
        finally:
            _die()

    signal.signal(signal.SIGTERM, handle)
    os.register_at_fork(after_in_child=lambda: _forget(handle))
    if (pipe := _wakeup_pipe()) is not None:
        threading.Thread(target=_watch, args=(pipe, handle, leave), daemon=True, name="waits for SIGTERM").start()


def _wakeup_pipe() -> int | None:
    """Where Python notes each signal at once, whatever the main thread does; None where the program reads these."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    if before == -1:
        return read
    signal.set_wakeup_fd(before)
    os.close(read)
    os.close(write)
    return None


def _watch(pipe: int, handle: Callable[[int, FrameType | None], None], leave: Callable[[], None]) -> None:
    while came := os.read(pipe, 1):
        if signal.getsignal(signal.SIGTERM) is not handle:
            continue
        if came[0] == signal.SIGTERM:
            handle(signal.SIGTERM, None)
        elif came[0] == signal.SIGINT:
            leave()


def _die() -> None:
    """By SIGTERM's default action. `signal.signal` is for the main thread only; what it calls is not."""
    set_action = ctypes.pythonapi.PyOS_setsig
    set_action.argtypes, set_action.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    set_action(signal.SIGTERM, None)
    os.kill(os.getpid(), signal.SIGTERM)


def _forget(handle: Callable[[int, FrameType | None], None]) -> None:
    """A process that was forked from the rank has nothing to leave, and no thread to watch."""
    if signal.getsignal(signal.SIGTERM) is handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
