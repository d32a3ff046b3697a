"""One recording of a rank, from forming its world until that is destroyed or the process ends or is terminated."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from multiprocessing.util import Finalize
from types import FrameType

from lab_utils.comm.recorder.clock import Moment
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.recorded_to_trace import to_ops
from lab_utils.comm.recorder.recorder import Recording, name_files, recorder, recording
from lab_utils.host.cpu_times import CpuTimes, cpu_times
from lab_utils.record.files import Left
from lab_utils.timeline.ops import Op

# SIGTERM must be handled even while the main thread is in C++ and runs no handler: torchrun sends it to the ranks of a
# failed program, which wait in C++ for the failed one. It passes an interrupt on as SIGINT, and kills ranks 30 s later.
_dying = threading.Lock()


def before_sigterm(leave: Callable[[], None]) -> None:
    """Call `leave` when SIGTERM comes, from any thread, then die by its default action.

    SIGINT calls `leave` too, besides its usual effect. Nothing is done if the program handles SIGTERM itself, now or
    later.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if not _dying.acquire(blocking=False):  # already dying, in another thread or in this one
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
    """Return a pipe to which Python writes every signal at once; None where the program uses the wakeup fd itself."""
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
    """Die by SIGTERM's default action. `signal.signal` works in the main thread only; PyOS_setsig does not."""
    set_action = ctypes.pythonapi.PyOS_setsig
    set_action.argtypes, set_action.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    set_action(signal.SIGTERM, None)
    os.kill(os.getpid(), signal.SIGTERM)


def _forget(handle: Callable[[int, FrameType | None], None]) -> None:
    """Reset SIGTERM in a process forked from the rank: it has nothing to write, and no thread to watch."""
    if signal.getsignal(signal.SIGTERM) is handle:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)


_COMPILED = "fail_on_recompile"  # the torch.compile stance set while counting; its errors name it
_session: Session | None = None
_worlds = 0
_writing = threading.RLock()  # reentrant: a signal may interrupt the thread that writes


@dataclass(slots=True)
class Session:
    """A recording: `left` is the record written at its begin, `entered` the context that `thread` must exit."""

    left: Left
    folder: str
    entered: AbstractContextManager[Recording]
    recorded: Recording
    thread: int
    before: CpuTimes | None


class _Over(Exception):
    """Ends a recording without waiting for pending ops."""


def begin(rank: int, ranks: int, folder: str, count: bool) -> None:
    """Start recording, and make sure that the record is written however the process ends."""
    global _session, _worlds
    left = Left.begun(rank, ranks, _worlds, os.environ)
    left.write(folder)
    if not _worlds:
        before_sigterm(_write_so_far)
        _name_program()
    _worlds += 1
    before, entered = cpu_times(), recording(count)
    _session = Session(left, folder, entered, entered.__enter__(), threading.get_ident(), before)
    # Processes forked by multiprocessing run Finalize, not atexit; in a later fork of this process, `end` does nothing.
    Finalize(None, end, exitpriority=0)
    atexit.register(end)


def _name_program() -> None:
    """Register the started file as the user's own, even if it lies among installed packages."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is not None:
        name_files({path: os.path.basename(path)})
    if "__mp_main__" in sys.modules:
        name_files({"<string>": ""})  # multiprocessing, not the user, started this by python -c


def is_on() -> bool:
    """Return whether this process records."""
    return _is_ours(_session)


def end() -> None:
    """Write the record; does nothing the second time, or in a process forked from the rank."""
    global _session
    if not _is_ours(_session):
        return
    with _writing:
        if (ended := _session) is None:  # written by another thread
            return
        atexit.unregister(end)
        try:
            _finish(ended)
        finally:
            _session = None


def _is_ours(session: Session | None) -> bool:
    return session is not None and session.left.process == os.getpid()


def _finish(ended: Session) -> None:
    if ended.thread != threading.get_ident():  # only the thread that entered a recording can exit it
        _write(ended, _ops_so_far(ended.recorded))
        return
    over = _Over()
    ended.entered.__exit__(_Over, over, None)
    _write(ended, ended.recorded.ops)


def _write(ended: Session, ops: list[Op]) -> None:
    compiled = _COMPILED in str(getattr(sys, "last_value", ""))
    after = cpu_times()
    used = None if ended.before is None or after is None else after.since(ended.before)
    ended.left.over(ops, ended.recorded.phases, compiled, used).write(ended.folder)


# ---------------------------------------------------------------------- a process that may die at any moment
def _write_so_far() -> None:
    """Write the record so far, from any thread, without waiting for ops or changing the recording."""
    if not _is_ours(_session):
        return
    with _writing:
        if _session is not None:
            _write(_session, _session.recorded.ops or _ops_so_far(_session.recorded))


def _ops_so_far(recorded: Recording) -> list[Op]:
    """Return the ops with host times so far; a device may never reach the moments recorded on it."""
    entries = [entry for entry in list(recorded.entries) if isinstance(entry.issue_s, float)]
    copies = {id(entry): copy(entry) for entry in entries}  # copies, since the recording continues
    for entry in copies.values():
        if isinstance(entry, PendingOp):
            entry.of = copies.get(id(entry.of))
    return to_ops(recorder.rank, list(copies.values()), _host_s)


def _host_s(moment: Moment) -> float | None:
    return moment if isinstance(moment, float) else None
