"""Waits for the backend that another thread can end.

gloo waits in C++, and does not always notice that its connection is gone: of a message that was half over the wire
when the connection ended, neither side is told (transport/tcp/pair.cc, signalException, leaves out what is being
written and read). Such a wait would last until the group's time-out. So no thread of the user's waits in there
without looking up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import timedelta
from types import CodeType
from typing import Any

import torch
from torch._C._distributed_c10d import Work

_SLICE = timedelta(seconds=0.1)
WAIT_IS_OVER = "Operation timed out!"  # what c10d's Work says, and only of the wait: the op goes on

_lock = threading.Lock()
_boxes: set[_Box] = set()
_endings: set[_Ending] = set()
_idle: list[_Waiter] = []
_cuts = 0
may_be_cut = False  # by the notebook's guard; a program that is recorded from outside has none


class ConnectionCut(RuntimeError):
    """The wait was ended because the group has been left."""

    def __init__(self) -> None:
        super().__init__("the connections to the other ranks were cut")


def cut() -> None:
    """End every wait that is under way, from any thread. Those that begin later are of the connections made then."""
    global _cuts
    with _lock:
        _cuts += 1
        boxes, endings = list(_boxes), list(_endings)
    for box in boxes:
        box.finish(error=ConnectionCut())
    for ending in endings:
        _end(ending, None)


# ---------------------------------------------------------------------- in the thread that asks
def wait_in_slices(work: Work, timeout: timedelta | None) -> bool:
    """`work.wait(timeout)` of an op that gloo's own threads carry out, whose wait may be given up and taken up again.

    KeyboardInterrupt and ConnectionCut come within a tenth of a second.
    """
    if timeout is not None:
        return work.wait(timeout)
    before = _cuts
    while True:
        try:
            return work.wait(_SLICE)
        except RuntimeError as error:
            if str(error) != WAIT_IS_OVER:
                raise
        if _cuts != before:
            raise ConnectionCut


def future_for(future: torch.futures.Future) -> torch.futures.Future:
    """A future that is done when the given one is, or when connections are cut: DDP waits for it in C++."""
    if not may_be_cut:
        return future
    ending = _Ending()
    with _lock:
        _endings.add(ending)
    future.add_done_callback(lambda done: _end(ending, done))
    return ending.future


class _Ending:
    """A future, and the one way in which Python can end a future so that C++ sees the error: by `then`."""

    def __init__(self) -> None:
        self.done: torch.futures.Future | None = None  # None: cut
        self._trigger = torch.futures.Future()
        self.future = self._trigger.then(self._come_to)

    def set(self, done: torch.futures.Future | None) -> None:
        self.done = done
        self._trigger.set_result(None)

    def _come_to(self, _: torch.futures.Future) -> Any:
        if self.done is None:
            raise ConnectionCut
        return self.done.value()  # raises what the op raised


def _end(ending: _Ending, done: torch.futures.Future | None) -> None:
    with _lock:
        if ending not in _endings:  # the other of the two came first
            return
        _endings.discard(ending)
    ending.set(done)


def losing_exceptions() -> set[CodeType]:
    """Code that C++ calls, and of whose exceptions, KeyboardInterrupt too, it makes a RuntimeError or a line of a log.

    DDP has the tensors taken out of what a future of Python's holds.
    """
    return {
        function.__code__ for function in (_end, _Ending.set, _Ending._come_to, torch._jit_internal._extract_tensors)
    }


# ---------------------------------------------------------------------- in another thread
class _Box:
    """What comes of one wait: from the thread that waits in C++, or from a cut, whichever is first."""

    def __init__(self) -> None:
        self._open, self._first = threading.Lock(), threading.Lock()
        self._open.acquire()
        self.result: Any = None
        self.error: BaseException | None = None

    def finish(self, result: Any = None, error: BaseException | None = None) -> None:
        if self._first.acquire(blocking=False):
            self.result, self.error = result, error
            self._open.release()

    def get(self) -> Any:
        self._open.acquire()
        if self.error is not None:
            raise self.error
        return self.result


class _Waiter:
    """A thread that waits in C++, so that no other has to."""

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[tuple[Callable[[], Any], _Box]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="waits for gloo").start()

    def give(self, wait: Callable[[], Any], box: _Box) -> None:
        self._given.put((wait, box))

    def _run(self) -> None:
        while True:
            wait, box = self._given.get()
            try:
                box.finish(wait())
            except BaseException as error:
                box.finish(error=error)
            del wait, box
            with _lock:
                _idle.append(self)


def wait_in_a_thread(wait: Callable[[], Any]) -> Any:
    """`wait()`, of any op; KeyboardInterrupt and ConnectionCut come at once.

    For messages and reduce-scatters: a time-out of a message's wait ends all of the group's connections, and a
    reduce-scatter's wait has none.
    """
    box = _Box()
    with _lock:
        _boxes.add(box)
        waiter = _idle.pop() if _idle else None
    try:
        (waiter or _Waiter()).give(wait, box)
        return box.get()
    finally:
        with _lock:
            _boxes.discard(box)
