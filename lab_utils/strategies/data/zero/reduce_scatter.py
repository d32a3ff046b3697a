"""Reduce-scatter of gradients: each rank gets the sum of its own piece only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.buckets.overlapped import Buckets, Pending
from lab_utils.strategies.data.zero.flat_parameters import FlatParameters
from lab_utils.strategies.data.zero.shard_collectives import Finish, is_exchanged, reduce_scatter, room_numel


def scatter_gradients(
    model: nn.Module,
    flats: Sequence[FlatParameters],
    group: dist.ProcessGroup,
    frees: bool,
    leaving: Callable[[FlatParameters], object] = lambda flat: None,
) -> Buckets:
    """Let each backward reduce-scatter the gradients of flat parameters.

    frees     free the whole gradients as soon as they are reduced
    leaving   called with a flat tensor when its gradients are complete
    """
    scatter = Scatter(flats, frees, leaving)
    fixed = [flat.bucket for flat in flats]
    buckets = Buckets(model, group=group, reduce=scatter, fixed=fixed, keep=False, begin=scatter.begin)
    if frees:
        for bucket in fixed:
            bucket.free()
    return buckets


@dataclass(eq=False)
class Scatter:
    """The `reduce` of Buckets for flat parameters: sets the gradient of a piece.

    A bucket is sent when the one before has arrived, so one receive buffer is enough.
    """

    op = "reduce_scatter"  # its name in a trace

    flats: Sequence[FlatParameters]
    frees: bool
    leaving: Callable[[FlatParameters], object]
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
        """Return the receive buffer where pieces are exchanged: allocated once, for the largest flat tensor."""
        if not is_exchanged(flat):
            return None
        if flat.dtype not in self._room:
            most = max(room_numel(each.whole, group) for each in self.flats if each.whole.dtype is flat.dtype)
            self._room[flat.dtype] = flat.new_empty(most)
        return self._room[flat.dtype][: room_numel(flat, group)]

    def begin(self) -> None:
        """Prepare for a backward: drop what an earlier one left that failed half-way."""
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
    """A reduce-scatter in flight."""

    flat: FlatParameters
    into: Tensor
    work: dist.Work | None
    finish: Finish | None
    frees: bool

    def drop(self) -> None:
        work, self.work, self.finish = self.work, None, None
        if work is not None:
            with suppress(RuntimeError):  # the earlier backward has raised it
                work.wait()

    def wait(self) -> None:
        if self.work is None:
            return
        self.work.wait()
        self.finish()
        self.work = self.finish = None  # frees the memory that they hold
        if self.frees:
            self.flat.bucket.free()
        piece = self.flat.piece
        piece.grad = self.into if piece.grad is None else piece.grad + self.into
