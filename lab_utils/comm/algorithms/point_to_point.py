"""Plain send and receive among the ranks of a group, from which ring, tree and two-level are built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.algorithms.rounds import chunk_sizes


@dataclass(frozen=True)
class Peers:
    """An ordered subset of a process group's ranks. `rank` is this process's index in it.

    Accepted wherever a group is, so that a ring can also run inside one node or across nodes without
    forming new process groups.
    """

    group: dist.ProcessGroup
    members: tuple[int, ...]

    @classmethod
    def of(cls, group: dist.ProcessGroup | Peers | None) -> Peers:
        """Return all ranks of `group`, or of the world for None. ValueError when this process is not among them."""
        if isinstance(group, Peers):
            return group
        group = dist.group.WORLD if group is None else group
        if dist.get_rank(group) < 0:
            raise ValueError(f"rank {dist.get_rank()} is not in the group that it was given")
        return cls(group, tuple(range(dist.get_world_size(group))))

    def among(self, places: Sequence[int]) -> Peers:
        """Return the subset at these indices."""
        return Peers(self.group, tuple(self.members[place] for place in places))

    @property
    def rank(self) -> int:
        return self.members.index(dist.get_rank(self.group))

    @property
    def n(self) -> int:
        return len(self.members)

    def exchange(self, sent: Tensor, to: int, arrived: Tensor, source: int) -> None:
        """Send and receive at the same time: both are posted before either is waited for.

        If each rank of a ring finished its send first, all would wait for a receive: deadlock.
        """
        sending = dist.isend(sent, group=self.group, group_dst=self.members[to])
        receiving = dist.irecv(arrived, group=self.group, group_src=self.members[source])
        receiving.wait()
        sending.wait()

    def move(self, tensor: Tensor, source: int, to: int) -> None:
        """Send from `source` to `to`, which receives into its own `tensor`; this rank must be one of them."""
        if self.rank == source:
            dist.isend(tensor, group=self.group, group_dst=self.members[to]).wait()
        else:
            dist.irecv(tensor, group=self.group, group_src=self.members[source]).wait()


def chunks_of(tensor: Tensor, n: int) -> tuple[Tensor, ...]:
    """Return n flat chunks of a tensor, in row-major order; views of it where its memory is contiguous."""
    flat = tensor.detach().contiguous().view(-1)
    return flat.split(chunk_sizes(flat.numel(), n))


@contextmanager
def in_place(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensor as one contiguous flat buffer that can be sent; writes to it end up in the tensor."""
    flat = tensor.detach().contiguous().view(-1)
    yield flat
    if not tensor.is_contiguous():
        store(tensor, flat)


def store(output: Tensor, source: Tensor) -> None:
    """Copy the elements of `source`, in row-major order, into a tensor of any shape and layout."""
    output.detach().copy_(source.detach().reshape(output.shape))


def check_chunk(chunk: Tensor, whole: Tensor, peers: Peers) -> None:
    """Raise ValueError when `chunk` does not match this rank's chunk of `whole`."""
    expected = chunk_sizes(whole.numel(), peers.n)[peers.rank]
    if chunk.numel() != expected or chunk.dtype != whole.dtype:
        raise ValueError(
            f"rank {peers.rank} of {peers.n} holds {expected} elements of a {whole.dtype} tensor of "
            f"{whole.numel()}, and was given {chunk.numel()} of {chunk.dtype}"
        )
