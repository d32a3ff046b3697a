"""Messages between stages, such that no valid order of ops can deadlock.

A rank waits for one thing only, the tensors that its next op needs. Sends are posted and kept until they are known
to be complete. So the earliest op, in time, of those left can always run: its inputs have been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.recorder.recorder import phase
from lab_utils.schedule import Schedule
from lab_utils.schedule.schedule import F
from lab_utils.strategies.pipeline.instructions import Leg

# The whole batch's loss, from the ranks with the last stage to all others, without blocking any of them.
TAG = 2**20 + 3


def checked(loss: Tensor) -> Tensor:
    """Return the loss if it is a single number; else raise ValueError with what it is."""
    if isinstance(loss, Tensor) and not loss.dim():
        return loss
    given = f"a tensor [{', '.join(map(str, loss.shape))}]" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
    raise ValueError(f"loss_of gave {given}: a tensor [] is needed, the mean over the samples")


class LossToAll:
    """Adds up the micro-batches' losses of one step, and sends the sum to the others once the last is there.

    A rank with the last stage goes on at once; the others receive its message long before their own work is done.
    """

    def __init__(self, schedule: Schedule, group: dist.ProcessGroup) -> None:
        self.group, rank = group, group.rank()
        owners = schedule.ranks_of_stage[-1]
        self._parts = {owner: torch.zeros((), dtype=torch.float64) for owner in owners}
        last = (schedule.kind == F) & (schedule.stage == schedule.stages - 1)
        self._missing = int((schedule.rank[last] == rank).sum())
        self._arriving = [dist.irecv(self._parts[o], group=group, group_src=o, tag=TAG) for o in owners if o != rank]
        self._leaving: list[dist.Work] = []

    def add(self, loss: Tensor) -> None:
        """Add the loss of one micro-batch, [], weighted by its share of the batch."""
        rank, group = self.group.rank(), self.group
        self._parts[rank] += loss.detach()
        self._missing -= 1
        if not self._missing:
            others = [other for other in range(group.size()) if other != rank]
            self._leaving = [dist.isend(self._parts[rank], group=group, group_dst=to, tag=TAG) for to in others]

    def total(self) -> Tensor:
        """Return the loss, the same on every rank, [], float64."""
        with phase("loss to all"):
            for work in self._arriving:
                work.wait()
        return torch.stack(list(self._parts.values())).sum()

    def finish(self) -> None:
        for work in self._leaving:
            work.wait()


FIRST_TAG = 1  # 0 is the default tag


class Sent(NamedTuple):
    position: int  # of the op that receives it, at the peer
    work: dist.Work
    tensor: Tensor


class Messages:
    """Received tensors, posted receives and pending sends.

    tensors_each   maximum number of tensors per message; each is sent separately
    """

    def __init__(self, group: dist.ProcessGroup, tensors_each: int) -> None:
        self.group, self._width = group, tensors_each
        self._arriving: dict[int, list[tuple[dist.Work, Tensor]]] = {}
        self._here: dict[int, tuple[Tensor, ...]] = {}
        self._sent: dict[int, list[Sent]] = {}

    def expect(self, leg: Leg, like: Sequence[Tensor]) -> None:
        """Allocate buffers for a message and post its receives: `like` has the shapes."""
        if leg.peer == self.group.rank():
            return
        arriving = self._arriving[leg.number] = []
        for tag, tensor in zip(self._tags(leg), like, strict=False):
            room = torch.empty(tensor.shape, dtype=tensor.dtype)
            arriving.append((dist.irecv(room, group=self.group, group_src=leg.peer, tag=tag), room))

    def take(self, leg: Leg) -> tuple[Tensor, ...]:
        """Wait for the message and return its tensors."""
        if leg.peer == self.group.rank():
            return self._here.pop(leg.number)
        arrived = self._arriving.pop(leg.number)
        for work, _ in arrived:
            work.wait()
        self._let_go(leg)
        return tuple(tensor for _, tensor in arrived)

    def put(self, leg: Leg, tensors: Sequence[Tensor]) -> None:
        """Send without waiting. On the same rank the tensors are handed over."""
        if leg.peer == self.group.rank():
            self._here[leg.number] = tuple(tensors)
            return
        for tag, tensor in zip(self._tags(leg), tensors, strict=False):
            tensor = tensor.contiguous()
            work = dist.isend(tensor, group=self.group, group_dst=leg.peer, tag=tag)
            self._sent.setdefault(leg.peer, []).append(Sent(leg.position, work, tensor))

    def finish(self) -> None:
        """Wait until all sends have been received."""
        for sent in self._sent.values():
            for each in sent:
                each.work.wait()
        self._sent.clear()

    def _let_go(self, leg: Leg) -> None:
        """Complete sends to the peer: it had received the inputs of its ops up to the one that sent this message."""
        sent = self._sent.get(leg.peer, [])
        self._sent[leg.peer] = [each for each in sent if each.position > leg.position]
        for each in sent:
            if each.position <= leg.position:
                each.work.wait()

    def _tags(self, leg: Leg) -> range:
        first = FIRST_TAG + leg.number * self._width
        return range(first, first + self._width)
