"""Plain send and receive among the ranks of a group: what ring, tree and two-level are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.algorithms.steps import chunk_sizes

SUM, AVG, MAX, MIN, PRODUCT = (getattr(dist.ReduceOp, op) for op in ("SUM", "AVG", "MAX", "MIN", "PRODUCT"))

# An average is a sum until its last line, `divide`.
_COMBINE = {SUM: torch.add, AVG: torch.add, MAX: torch.maximum, MIN: torch.minimum, PRODUCT: torch.mul}


@dataclass(frozen=True)
class Peers:
    """Some ranks of a process group, in an order of their own. `rank` is this process's place among them.

    Stands wherever a group may stand, so that a ring can also run inside one node or across nodes without
    forming new process groups.
    """

    group: dist.ProcessGroup
    members: tuple[int, ...]

    @classmethod
    def of(cls, group: dist.ProcessGroup | Peers | None) -> Peers:
        """All ranks of `group`, or of the world for None. ValueError when this process is not among them."""
        if isinstance(group, Peers):
            return group
        group = dist.group.WORLD if group is None else group
        if dist.get_rank(group) < 0:
            raise ValueError(f"rank {dist.get_rank()} is not in the group that it was given")
        return cls(group, tuple(range(dist.get_world_size(group))))

    def among(self, places: Sequence[int]) -> Peers:
        """These of them only."""
        return Peers(self.group, tuple(self.members[place] for place in places))

    @property
    def rank(self) -> int:
        return self.members.index(dist.get_rank(self.group))

    @property
    def n(self) -> int:
        return len(self.members)

    def exchange(self, sent: Tensor, to: int, arrived: Tensor, source: int) -> None:
        """Send and receive at the same time: both are posted before either is waited for.

        Were each rank of a ring to finish its send first, all would wait for someone to receive.
        """
        sending = dist.isend(sent, group=self.group, group_dst=self.members[to])
        receiving = dist.irecv(arrived, group=self.group, group_src=self.members[source])
        receiving.wait()
        sending.wait()

    def move(self, tensor: Tensor, source: int, to: int) -> None:
        """`source` sends, `to` receives into its own `tensor`; either must be this rank."""
        if self.rank == source:
            dist.isend(tensor, group=self.group, group_dst=self.members[to]).wait()
        else:
            dist.irecv(tensor, group=self.group, group_src=self.members[source]).wait()


def chunks_of(tensor: Tensor, n: int) -> tuple[Tensor, ...]:
    """n flat chunks of a tensor, in row-major order; views of it where its memory is contiguous."""
    flat = tensor.detach().contiguous().view(-1)
    return flat.split(chunk_sizes(flat.numel(), n))


@contextmanager
def in_place(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor as one flat piece of memory that can be sent; what is written there ends in the tensor."""
    flat = tensor.detach().contiguous().view(-1)
    yield flat
    if not tensor.is_contiguous():
        store(tensor, flat)


def store(output: Tensor, source: Tensor) -> None:
    """Put the elements of `source`, in row-major order, into a tensor of any shape and layout."""
    output.detach().copy_(source.detach().reshape(output.shape))


def combine(mine: Tensor, arrived: Tensor, op: dist.ReduceOp.RedOpType, out: Tensor) -> Tensor:
    """`mine` op `arrived`, element by element, written to `out` (which may be either)."""
    return _COMBINE[op](mine, arrived, out=out)


def total(op: dist.ReduceOp.RedOpType) -> dist.ReduceOp.RedOpType:
    """The op for the levels of a collective that averages once, at its end."""
    return SUM if op == AVG else op


def divide(tensor: Tensor, op: dist.ReduceOp.RedOpType, n: int) -> None:
    """Make the average out of the sum, in place; nothing to do for the other ops."""
    if op == AVG:
        tensor.detach().div_(n)


def check_op(tensor: Tensor, op: dist.ReduceOp.RedOpType) -> None:
    """ValueError, before anything is sent, when the ranks could not combine such tensors."""
    if op not in _COMBINE:
        raise ValueError(f"{op} is not one of SUM, AVG, MAX, MIN, PRODUCT")
    if op == AVG and not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"AVG of {tensor.dtype} would need rounding: use SUM, then divide as you mean it")
    if op in (MAX, MIN) and tensor.is_complex():
        raise ValueError(f"{op} has no meaning for {tensor.dtype}: complex numbers have no order")


def check_chunk(chunk: Tensor, whole: Tensor, peers: Peers) -> None:
    """ValueError when `chunk` is not what this rank holds of `whole`."""
    expected = chunk_sizes(whole.numel(), peers.n)[peers.rank]
    if chunk.numel() != expected or chunk.dtype != whole.dtype:
        raise ValueError(
            f"rank {peers.rank} of {peers.n} holds {expected} elements of a {whole.dtype} tensor of "
            f"{whole.numel()}, and was given {chunk.numel()} of {chunk.dtype}"
        )
