"""A Work that reports to the recorder when a rank begins to wait for an op, and when the op is done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Work

from lab_utils.comm.process_group import interruptible_wait
from lab_utils.comm.process_group.calls_from_cpp import give_lasting, lasting
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.recorder import recorder

_C10D = dist.distributed_c10d.__file__


class RecordedWork(Work):
    """Wraps the backend's Work for one op; waits and results are the backend's.

    `on_done` is called once, after the first wait: a receive from any source learns its peer only then.
    """

    def __init__(self, inner: Work, entry: PendingOp, on_done: Callable[[Work, PendingOp], None] | None = None):
        super().__init__()
        self._inner, self._entry, self._on_done = inner, entry, on_done

    def wait(self, timeout=None) -> bool:
        # dist.send(x) waits inside c10d; only a wait that the caller makes is an event of its own.
        above = sys._getframe().f_back  # None on a C++ thread
        if above is not None and above.f_code.co_filename == _C10D:
            self._entry.asynchronous = False
        wait = recorder.wait_begins(self._entry)
        try:
            done = self._wait(timeout)
        except RuntimeError as error:
            recorder.failed(error, connected=str(error) == interruptible_wait.WAIT_IS_OVER)
            raise
        if self._on_done is not None:
            self._on_done(self._inner, self._entry)
            self._on_done = None
        recorder.wait_ends(self._entry, wait)
        return done

    def _wait(self, timeout) -> bool:
        wait = partial(self._inner.wait, *(() if timeout is None else (timeout,)))
        if self._entry.on_device:  # the host does not block
            return wait()
        if self._entry.kind != "collective" or self._entry.name == "reduce_scatter":
            return interruptible_wait.wait_in_a_thread(wait)
        return interruptible_wait.wait_in_slices(self._inner, timeout)

    def get_future(self):
        future = self._inner.get_future()
        # DDP's C++ hook that compresses to float16 accepts only the backend's own future, none made by Python.
        compressed = self._entry.signature.startswith("sum float16")
        if not self._entry.on_device and not compressed:
            future = interruptible_wait.future_for(future)
        recorder.future_taken(self._entry, future)
        return future

    def boxed(self) -> torch.ScriptObject:
        return lasting(self).boxed()


def _asked_of_the_backend(name: str):
    def ask(self: RecordedWork, *args, **kwargs):
        return getattr(self._inner, name)(*args, **kwargs)

    return ask


for _name in (
    "is_completed", "is_success", "exception", "result", "synchronize", "block_current_stream", "source_rank",
    "_source_rank", "get_future_result", "_get_op_type", "_get_duration",
):  # fmt: skip
    setattr(RecordedWork, _name, _asked_of_the_backend(_name))


class RecordedMessage(RecordedWork):
    """A send or a receive. Dropping it without waiting is recorded: gloo then loses it and blocks later messages."""

    _waited = False

    def _wait(self, timeout) -> bool:
        self._waited = True
        return super()._wait(timeout)

    def __del__(self) -> None:
        if not self._waited:
            recorder.ledger.drop(self._entry)


class JoinedWork(Work):
    """Several ops waited for as one, as the coalescing manager returns them."""

    def __init__(self, works: list[Work]):
        super().__init__()
        self._works = works

    def wait(self, timeout=None) -> bool:
        return all([work.wait() if timeout is None else work.wait(timeout) for work in self._works])

    def is_completed(self) -> bool:
        return all(work.is_completed() for work in self._works)

    def get_future(self):
        raise RuntimeError(
            f"a coalesced batch of {len(self._works)} ops has one future per op and none of its own: call wait()"
        )

    def boxed(self) -> torch.ScriptObject:
        return lasting(self).boxed()


give_lasting((RecordedWork, JoinedWork))
