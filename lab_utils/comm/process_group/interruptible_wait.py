"""Waits for the backend that another thread can end.

gloo waits in C++ and may miss that its connection was closed: neither side is notified of a message that was partly
sent when the connection ended (transport/tcp/pair.cc, signalException, skips the operations being written and read).
Such a wait would last until the group's timeout, so user threads never wait in it without a way to abort.
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
WAIT_IS_OVER = "Operation timed out!"  # the message of c10d's Work; only the wait timed out, the op goes on

_lock = threading.Lock()
_boxes: set[_Box] = set()
_endings: set[_Ending] = set()
_idle: list[_Waiter] = []
_aborts = 0
may_be_aborted = False  # set where the notebook's guard runs; a program recorded from outside has none


class WaitAborted(RuntimeError):
    """The wait was ended because the group was left."""

    def __init__(self) -> None:
        super().__init__("the connections to the other ranks were cut")


def abort_waits() -> None:
    """End every pending wait, from any thread. Waits that begin later belong to the connections made then."""
    global _aborts
    with _lock:
        _aborts += 1
        boxes, endings = list(_boxes), list(_endings)
    for box in boxes:
        box.finish(error=WaitAborted())
    for ending in endings:
        _end(ending, None)


# ---------------------------------------------------------------------- in the calling thread
def wait_in_slices(work: Work, timeout: timedelta | None) -> bool:
    """Wait as `work.wait(timeout)` for an op that gloo's threads run, whose wait may be abandoned and resumed.

    KeyboardInterrupt and WaitAborted are raised within a tenth of a second.
    """
    if timeout is not None:
        return work.wait(timeout)
    before = _aborts
    while True:
        try:
            return work.wait(_SLICE)
        except RuntimeError as error:
            if str(error) != WAIT_IS_OVER:
                raise
        if _aborts != before:
            raise WaitAborted


def future_for(future: torch.futures.Future) -> torch.futures.Future:
    """Return a future that completes with the given one or when waits are aborted: DDP waits for it in C++."""
    if not may_be_aborted:
        return future
    ending = _Ending()
    with _lock:
        _endings.add(ending)
    future.add_done_callback(lambda done: _end(ending, done))
    return ending.future


class _Ending:
    """A future that Python can fail so that C++ sees the error, which only works through `then`."""

    def __init__(self) -> None:
        self.done: torch.futures.Future | None = None  # None: aborted
        self._trigger = torch.futures.Future()
        self.future = self._trigger.then(self._come_to)

    def set(self, done: torch.futures.Future | None) -> None:
        self.done = done
        self._trigger.set_result(None)

    def _come_to(self, _: torch.futures.Future) -> Any:
        if self.done is None:
            raise WaitAborted
        return self.done.value()  # raises what the op raised


def _end(ending: _Ending, done: torch.futures.Future | None) -> None:
    with _lock:
        if ending not in _endings:  # already completed or aborted
            return
        _endings.discard(ending)
    ending.set(done)


def losing_exceptions() -> set[CodeType]:
    """Return code objects that C++ calls and whose exceptions, even KeyboardInterrupt, it logs or makes a RuntimeError.

    DDP calls the last one to extract the tensors from the value of a Python future.
    """
    return {
        function.__code__ for function in (_end, _Ending.set, _Ending._come_to, torch._jit_internal._extract_tensors)
    }


# ---------------------------------------------------------------------- in another thread
class _Box:
    """The outcome of one wait: from the thread that waits in C++ or from an abort, whichever comes first."""

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
    """A thread that waits in C++ for other threads."""

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
    """Run `wait()`, for any op; KeyboardInterrupt and WaitAborted are raised at once.

    For messages and reduce-scatters: a timeout in a message's wait closes all of the group's connections, and a
    reduce-scatter's wait takes no timeout.
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
