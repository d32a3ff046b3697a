"""Reduce-scatter and all-gather of pieces, by the cheapest collective of the backend.

gloo's reduce-scatter is an all-reduce whose result is mostly discarded: twice the bytes. So on gloo the ranks exchange
their pieces by all-to-all. gloo's all-gather copies everything it receives twice, so two ranks swap their pieces
without a copy; more ranks would need a message per pair, and use gloo's. A trace names the collective meant, marked
with the one that ran.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.process_group.c10d_calls import standing_for

Finish = Callable[[], object]


def is_exchanged(tensor: Tensor) -> bool:
    """Whether gloo sends it, so that ranks exchange pieces."""
    return tensor.device.type == "cpu"


def room_numel(whole: Tensor, group: dist.ProcessGroup) -> int:
    """Return how many elements a rank receives in `reduce_scatter`: of two ranks only the other's piece."""
    return whole.numel() // 2 if group.size() == 2 else whole.numel()


def reduce_scatter(
    whole: Tensor, into: Tensor, group: dist.ProcessGroup, room: Tensor | None
) -> tuple[dist.Work, Finish]:
    """Start to sum this rank's piece over the ranks into `into`; return the work, and what to call when it is done.

    whole   [numel], whose rank-th part is this rank's piece
    into    [numel / ranks], possibly that part itself
    room    [room_numel(whole, group)], receive buffer where pieces are exchanged; None for the backend's own op
    """
    if room is None:
        return dist.reduce_scatter_single(into, whole, group=group, async_op=True), lambda: None
    with standing_for("reduce_scatter", whole):
        if group.size() == 2:
            mine, others = _halves(whole, group)
            return _swap(room, others, group), lambda: torch.add(mine, room, out=into)
        work = dist.all_to_all_single(room, whole, group=group, async_op=True)
    return work, lambda: torch.sum(room.view(group.size(), -1), dim=0, out=into)  # in the order of the ranks


def all_gather(whole: Tensor, piece: Tensor, group: dist.ProcessGroup) -> dist.Work:
    """Start to gather all ranks' pieces [numel / ranks] into `whole` [numel]; wait for the work returned."""
    if group.size() != 2 or not is_exchanged(whole):
        return dist.all_gather_single(whole, piece, group=group, async_op=True)
    mine, others = _halves(whole, group)
    if mine.data_ptr() != piece.data_ptr():
        mine.copy_(piece)
    with standing_for("all_gather", piece):
        return _swap(others, piece, group)


def _halves(whole: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor]:
    """Return this rank's piece and the other's, of two ranks."""
    parts = whole.chunk(2)
    return parts[group.rank()], parts[1 - group.rank()]


def _swap(into: Tensor, sent: Tensor, group: dist.ProcessGroup) -> dist.Work:
    """Swap a tensor between two ranks, with nothing sent to itself."""
    sizes = [0, 0]
    sizes[1 - group.rank()] = sent.numel()
    return dist.all_to_all_single(into, sent, sizes, sizes, group=group, async_op=True)
