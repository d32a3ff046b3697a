"""Gradients that are reduced and scattered: each rank gets the sum of its own piece only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.buckets.overlapped import Pending
from lab_utils.strategies.data.zero.flat_parameters import FlatParameters
from lab_utils.strategies.data.zero.shard_collectives import Finish, is_exchanged, reduce_scatter, room_numel


def nothing(flat: FlatParameters) -> None:
    """What is done when a bucket leaves, unless a stage of ZeRO has more to do."""


@dataclass(eq=False)
class Scatter:
    """The `reduce` of Buckets for flat parameters: a piece's gradient is what comes back.

    frees     the whole gradients' memory is given back as soon as they have left
    leaving   called with a flat tensor when all its gradients are there

    A bucket leaves when the one before has arrived, so one of them at a time needs room on the wire.
    """

    op = "reduce_scatter"  # what a trace calls it

    flats: Sequence[FlatParameters]
    frees: bool
    leaving: Callable[[FlatParameters], None] = nothing
    _last: _Scattered | None = field(default=None, init=False)
    _room: dict[torch.dtype, Tensor] = field(default_factory=dict, init=False)

    def __call__(self, bucket: Bucket, group: dist.ProcessGroup) -> Pending:
        flat = self.flats[bucket.number]
        self.leaving(flat)
        if self._last:
            self._last.wait()
        into = torch.empty_like(flat.piece, requires_grad=False) if self.frees else self._in_place(flat, group)
        work, finish = reduce_scatter(bucket.flat, into, group, self._room_for(bucket.flat, group))
        self._last = _Scattered(flat, into, work, finish, self.frees)
        return self._last

    def _room_for(self, flat: Tensor, group: dist.ProcessGroup) -> Tensor | None:
        """What the ranks' pieces are received in, where they are exchanged: made once, as large as any will need."""
        if not is_exchanged(flat):
            return None
        if flat.dtype not in self._room:
            most = max(room_numel(each.whole, group) for each in self.flats if each.whole.dtype is flat.dtype)
            self._room[flat.dtype] = flat.new_empty(most)
        return self._room[flat.dtype][: room_numel(flat, group)]

    def begin(self) -> None:
        """A backward begins: what an earlier one left that failed half-way counts no more."""
        if self._last:
            self._last.drop()

    def _in_place(self, flat: FlatParameters, group: dist.ProcessGroup) -> Tensor:
        if flat.piece.grad is not None:
            raise RuntimeError(
                f"the gradient of {flat.names[0]} from an earlier backward is still there, and this backward "
                "overwrites it: call optimizer.zero_grad() before, or let the earlier ones run inside no_sync()."
            )
        return flat.bucket.piece(group)


@dataclass(eq=False)
class _Scattered:
    """A reduce-scatter under way."""

    flat: FlatParameters
    into: Tensor
    work: dist.Work | None
    finish: Finish | None
    frees: bool

    def drop(self) -> None:
        work, self.work, self.finish = self.work, None, None
        if work is not None:
            with suppress(RuntimeError):  # that it failed was the earlier backward's error
                work.wait()

    def wait(self) -> None:
        if self.work is None:
            return
        self.work.wait()
        self.finish()
        self.work = self.finish = None  # and the memory they hold
        if self.frees:
            self.flat.bucket.free()
        piece = self.flat.piece
        piece.grad = self.into if piece.grad is None else piece.grad + self.into
