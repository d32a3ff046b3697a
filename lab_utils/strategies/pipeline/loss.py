"""The whole batch's loss, from the ranks that have the last stage to everybody, without holding anybody up."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.recorder import phase
from lab_utils.schedule import Schedule
from lab_utils.schedule.schedule import F

TAG = 2**20 + 3


def checked(loss: Tensor) -> Tensor:
    """What loss_of gave, if it is one number; ValueError says what else it is."""
    if isinstance(loss, Tensor) and not loss.dim():
        return loss
    given = f"a tensor [{', '.join(map(str, loss.shape))}]" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
    raise ValueError(f"loss_of gave {given}: a tensor [] is needed, the mean over the samples")


class LossToAll:
    """Adds up the micro-batches' losses of one step, and tells the others as soon as the last is there.

    A rank with the last stage goes on at once; the others have its message long before their own work is done.
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
        """Of one micro-batch, [], by its share of the batch."""
        rank, group = self.group.rank(), self.group
        self._parts[rank] += loss.detach()
        self._missing -= 1
        if not self._missing:
            others = [other for other in range(group.size()) if other != rank]
            self._leaving = [dist.isend(self._parts[rank], group=group, group_dst=to, tag=TAG) for to in others]

    def total(self) -> Tensor:
        """The same on every rank, [], float64."""
        with phase("loss to all"):
            for work in self._arriving:
                work.wait()
        return torch.stack(list(self._parts.values())).sum()

    def finish(self) -> None:
        for work in self._leaving:
            work.wait()
