"""`with chunk_flow(x) as flow: ring_all_reduce(x)`: track whose parts of x move where, from memory to memory.

It observes the kernels on the rank and the recorded messages, adds no communication and reads no values, so it works
for any collective that is written with send and receive.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from lab_utils.comm.recorder.bytes_and_flops import tensors_in
from lab_utils.comm.recorder.live_memory import is_wrapper
from lab_utils.comm.recorder.pending_op import Computing, PendingOp
from lab_utils.comm.recorder.recorder import recorder
from lab_utils.widgets.collective_steps import words
from lab_utils.widgets.collective_steps.probe_kernels import Move, moves
from lab_utils.widgets.collective_steps.record import NOTHING, ChunkLog, Key, Over, Places, Posted, Wrote, as_places

MOST_ELEMENTS = 2**16
_MESSAGES = ("send", "recv_", "recv_any_source_")


@contextmanager
def chunk_flow(part: Tensor) -> Iterator[ChunkFlow]:
    """Track this rank's `part` through the collective inside the block, in a recorded function.

    >>> with chunk_flow(x) as flow:
    ...     ring_all_reduce(x)
    >>> flow.result(x)                # optional: the picture then shows if it is complete and in order
    >>> return flow.record()          # to the notebook: CollectiveSteps(trace, trace.results)

    RuntimeError outside of a recording. ValueError for more elements than can be tracked individually, or if a
    backend collective uses the part, whose messages are not visible.
    """
    if recorder.recording is None:
        raise RuntimeError(words.NOT_RECORDED)
    if not 0 < part.numel() <= MOST_ELEMENTS:
        raise ValueError(words.TOO_MANY_ELEMENTS.format(elements=part.numel(), most=MOST_ELEMENTS))
    flow = ChunkFlow(part)
    try:
        with flow:
            yield flow
    finally:
        flow._close()


class ChunkFlow(TorchDispatchMode):
    """The tracker of `chunk_flow`. `record()` returns its log for the notebook, picklable."""

    def __init__(self, part: Tensor) -> None:
        super().__init__()
        self._memory = _Memory()
        self._events: list[Wrote | _Posted | _Over] = []
        self._open: list[PendingOp] = []
        self._entries = recorder.recording.entries
        self._seen = len(self._entries)
        with _disable_current_modes():
            self._given = as_places(self._memory.follow(part.detach()).numpy())
        self._itemsize, self._result = part.element_size(), None

    def result(self, tensor: Tensor) -> None:
        """Set the tensor that holds the collective's result; may be called after the block."""
        with _disable_current_modes():
            self._result = as_places(self._memory.places(tensor.detach()).numpy())

    def record(self) -> ChunkLog:
        """Return this rank's log, for CollectiveSteps in the notebook. Call it after the block."""
        events = tuple(event if isinstance(event, Wrote) else event.event() for event in self._events)
        return ChunkLog(recorder.rank, self._itemsize, self._memory.size, self._given, events, self._result)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if types and any(map(is_wrapper, types)):
            return NotImplemented  # it unwraps itself and dispatches again with the inner tensors
        kwargs = kwargs or {}
        self._catch_up()
        if func.namespace == "c10d":
            self._note_c10d(func, args)
        out = func(*args, **kwargs)
        if func.namespace == "aten":
            with _disable_current_modes():
                for move in moves(func, args, kwargs, out, self._memory.places):
                    self._note(move)
        return out

    def _note(self, move: Move) -> None:
        """Record a move only if it reads a part or writes tracked memory."""
        comes = any(bool((source >= 0).any()) for source in move.sources)
        if not comes and not self._memory.knows(move.target):
            return
        target = self._memory.follow(move.target).reshape(-1)
        if move.at is not None:
            target = target[move.at.reshape(-1)]
        sources = tuple(as_places(source.numpy()) for source in move.sources) if comes else ()
        self._events.append(Wrote(as_places(target.numpy()), sources, move.how))

    def _note_c10d(self, func: OpOverload, args: tuple) -> None:
        name, entry = func._schema.name.partition("::")[2], self._entries[-1]
        tensors = list(tensors_in(args))
        if name in _MESSAGES:
            with _disable_current_modes():
                places = torch.cat([self._memory.follow(tensor).reshape(-1) for tensor in tensors])
            self._events.append(_Posted(entry, as_places(places.numpy())))
            self._open.append(entry)
        elif any(map(self._memory.knows, tensors)):
            raise ValueError(words.NOT_VISIBLE.format(op=entry.name))

    def _catch_up(self, at_end: bool = False) -> None:
        """Record messages waited for since the last call; those never waited for complete at the end."""
        new = self._entries[self._seen :]
        self._seen += len(new)
        waited = {id(e.of) for e in new if not isinstance(e, Computing) and e.kind == "wait" and e.done_s is not None}
        for entry in [*self._open]:
            done = entry.done_s is not None and (at_end or not entry.asynchronous)
            if done or id(entry) in waited:
                self._open.remove(entry)
                self._events.append(_Over(entry))

    def _close(self) -> None:
        self._catch_up(at_end=True)


class _Memory:
    """Assigns consecutive places to each tracked storage."""

    def __init__(self) -> None:
        self.size = 0
        self._followed: dict[int, tuple[weakref.ref, int, int]] = {}  # storage, its first place, bytes per place

    def knows(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._followed

    def follow(self, tensor: Tensor) -> Tensor:
        """Track the tensor's storage and return the tensor's places."""
        storage = tensor.untyped_storage()
        if (key := storage._cdata) not in self._followed:
            gone = weakref.ref(storage, lambda _: self._followed.pop(key, None))  # its address may be reused
            self._followed[key] = gone, self.size, tensor.element_size()
            self.size += storage.nbytes() // tensor.element_size()
        return self.places(tensor)

    def places(self, tensor: Tensor) -> Tensor:
        if not self.knows(tensor):
            return torch.full(tensor.shape, NOTHING)
        _, first, place_bytes = self._followed[tensor.untyped_storage()._cdata]
        end = tensor.storage_offset() + sum(
            (n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)
        )
        at = torch.arange(end + 1 if tensor.numel() else 0)
        at = at.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset() if tensor.numel() else 0)
        return first + at * tensor.element_size() // place_bytes


def _key(entry: PendingOp) -> Key:
    """Return timeline.ops.message_key of the op that the entry becomes."""
    source, destination = (recorder.rank, entry.peer) if entry.kind == "send" else (entry.peer, recorder.rank)
    return source, destination, entry.tag, entry.group, entry.seq


class _Posted(NamedTuple):
    """A posted message. The key is built at the end: the source of a receive from any rank is known only then."""

    entry: PendingOp
    places: Places

    def event(self) -> Posted:
        return Posted(self.entry.kind, _key(self.entry), self.places)


class _Over(NamedTuple):
    entry: PendingOp

    def event(self) -> Over:
        return Over(self.entry.kind, _key(self.entry))
