"""A reduce-scatter and an all-gather of pieces, as directly as the backend can.

gloo's reduce-scatter is an all-reduce of which most is thrown away: twice the bytes. Where gloo carries it, the ranks
send each other their pieces. Its all-gather copies all that it brings twice: two ranks swap their pieces instead,
without a copy. More than two would need a message for each pair, and take gloo's. Traces have what is meant, marked
with what ran.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.process_group.c10d_calls import standing_for

Finish = Callable[[], object]


def is_exchanged(tensor: Tensor) -> bool:
    """Whether gloo is what carries it."""
    return tensor.device.type == "cpu"


def room_numel(whole: Tensor, group: dist.ProcessGroup) -> int:
    """How many elements a rank receives of the others in `reduce_scatter`: of two, the other's piece."""
    return whole.numel() // 2 if group.size() == 2 else whole.numel()


def reduce_scatter(
    whole: Tensor, into: Tensor, group: dist.ProcessGroup, room: Tensor | None
) -> tuple[dist.Work, Finish]:
    """Begin to bring the sum over the ranks of this rank's piece into `into`: a work, and what to do when it is done.

    whole   [numel], of which this rank's piece is the rank-th part
    into    [numel / ranks], maybe that part itself
    room    [room_numel(whole, group)], to receive in where pieces are exchanged; None for the backend's own op
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
    """Begin to bring all ranks' pieces [numel / ranks] into `whole` [numel]; wait for what comes back."""
    if group.size() != 2 or not is_exchanged(whole):
        return dist.all_gather_single(whole, piece, group=group, async_op=True)
    mine, others = _halves(whole, group)
    if mine.data_ptr() != piece.data_ptr():
        mine.copy_(piece)
    with standing_for("all_gather", piece):
        return _swap(others, piece, group)


def _halves(whole: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor]:
    """This rank's piece and the other's, of two."""
    parts = whole.chunk(2)
    return parts[group.rank()], parts[1 - group.rank()]


def _swap(into: Tensor, given: Tensor, group: dist.ProcessGroup) -> dist.Work:
    """Two ranks give each other a tensor, and nothing to themselves."""
    sizes = [0, 0]
    sizes[1 - group.rank()] = given.numel()
    return dist.all_to_all_single(into, given, sizes, sizes, group=group, async_op=True)
