"""Ends a rank's process as any Python process ends: files flushed, `atexit` run, children ended."""

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
_running = False  # whether a call runs, whose `finally` must run first
asked = False  # whether SIGTERM has come


def end_when_asked() -> None:
    """Let SIGTERM end this process in order; processes that it forks keep the default action."""
    global _pid
    _pid = os.getpid()
    if os.getpgrp() != _pid:
        os.setpgid(0, 0)  # an interrupt reaches this rank's children, and no other rank
    signal.signal(signal.SIGTERM, _terminate)
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_heed_sigterm, after_in_child=_be_a_child)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Let SIGTERM raise SystemExit inside the block."""
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
    """End this process if the call forked it and it returned from the call: it is no rank."""
    if os.getpid() != _pid:
        code = error.code if isinstance(error, SystemExit) else error is not None
        os._exit(code if isinstance(code, int) else code is not None)


def end_process() -> None:
    """Do what Python does at exit, except for finalizing torch, and end by SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from lab_utils.comm.process_group import forming_groups

    forming_groups.leave()
    _flush_files()  # first: a thread that never ends, or an `atexit`, may outlast the grace
    threading._shutdown()  # joins non-daemon threads
    atexit._run_exitfuncs()
    vars(sys.modules["__main__"]).clear()
    gc.collect()
    _flush_files()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _flush_files() -> None:
    """Flush in a thread with a time limit: a full pipe without a reader blocks for ever."""
    flushing = threading.Thread(target=_flush_each, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)


def _flush_each() -> None:
    # Not `isinstance`, which reads `__class__`: a proxy may raise, or torch warn.
    for file in [each for each in gc.get_objects() if issubclass(type(each), io.IOBase)]:
        try:
            with contextlib.suppress(OSError, ValueError):  # not writable, closed, or a broken pipe
                file.flush()
        except Exception:  # from a class of the program
            traceback.print_exc()
    ctypes.CDLL(None).fflush(None)  # C streams


def _terminate(_number: int, _frame: object) -> None:
    global asked
    if asked:
        return
    asked = True
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a DataLoader's handler raises if its workers ended first
    if _running:
        raise SystemExit(128 + signal.SIGTERM)
    end_process()


def _hold_sigterm() -> None:
    """Block SIGTERM around a fork: one that reached the child before its handlers are reset would be lost."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _heed_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _be_a_child() -> None:
    signal.set_wakeup_fd(-1)  # belongs to the rank's event loop
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _heed_sigterm()
