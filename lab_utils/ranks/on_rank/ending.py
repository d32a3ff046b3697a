"""How a rank's process ends: as any Python process, with its files flushed, its `atexit` run, its children ended."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator

_FLUSH_S = 1.0
_pid = 0
_mask = threading.local()
_running = False  # whether a call runs: its own `finally` comes first
asked = False  # whether this process is to end


def end_when_asked() -> None:
    """From now on SIGTERM ends this process in order; what it forks ends by SIGTERM as any process does."""
    global _pid
    _pid = os.getpid()
    if os.getpgrp() != _pid:
        os.setpgid(0, 0)  # an interrupt is for what a rank has started too, and for no other rank
    signal.signal(signal.SIGTERM, _terminate)
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_heed_sigterm, after_in_child=_be_a_child)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Around a call: SIGTERM raises SystemExit in it."""
    global _running
    _running = True
    try:
        yield
    finally:
        _running = False


def end_if_asked() -> None:
    if asked:
        end_process()


def end_a_copy(error: BaseException | None) -> None:
    """A process that the call forked, and that came back from it, is no rank."""
    if os.getpid() != _pid:
        code = error.code if isinstance(error, SystemExit) else error is not None
        os._exit(code if isinstance(code, int) else code is not None)


def end_process() -> None:
    """Do what Python does at its end, but for taking torch apart, and end by SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from lab_utils.comm.process_group import rendezvous

    rendezvous.leave()
    _flush_files()  # a thread that never ends, or an `atexit`, may take longer than the grace is
    threading._shutdown()  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    vars(sys.modules["__main__"]).clear()
    gc.collect()
    _flush_files()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _flush_files() -> None:
    """In a thread of its own: a pipe that nobody reads takes nothing more, and the rest of the end does without."""
    flushing = threading.Thread(target=_flush_each, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)


def _flush_each() -> None:
    # Not `isinstance`, which asks for `__class__`: a proxy may raise then, or torch warn.
    for file in [each for each in gc.get_objects() if issubclass(type(each), io.IOBase)]:
        try:
            with contextlib.suppress(OSError, ValueError):  # not for writing, closed, or its other end is gone
                file.flush()
        except Exception:  # a class of the program's
            traceback.print_exc()
    ctypes.CDLL(None).fflush(None)  # those of C


def _terminate(_number: int, _frame: object) -> None:
    global asked
    if asked:
        return
    asked = True
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a DataLoader's raises where its workers have been ended first
    if _running:
        raise SystemExit(128 + signal.SIGTERM)
    end_process()


def _hold_sigterm() -> None:
    """A signal that comes to a child before its first line would be for our handler, and Python would forget it."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _heed_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _be_a_child() -> None:
    signal.set_wakeup_fd(-1)  # it is the rank's event loop's
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _heed_sigterm()
