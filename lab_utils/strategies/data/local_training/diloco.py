"""DiLoCo: local steps, then a step of an outer optimizer whose gradient is the distance that the ranks have moved.

Douillard et al. 2023, "DiLoCo: Distributed Low-Communication Training of Language Models" (arXiv 2311.08105),
algorithm 1.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.strategies.data.buckets.bucket import Bucket
from lab_utils.strategies.data.local_training.local_sgd import LocalSGD


class DiLoCo(LocalSGD):
    """Local steps by the model's own optimizer, and one outer step with Nesterov momentum after every `every` of them.

    >>> DiLoCo(model, torch.optim.AdamW(model.parameters()), every=50)

    outer_lr, outer_momentum    of the outer optimizer: 0.7 and 0.9 in the paper (section 3). 1 and 0 are local SGD

    Each rank keeps two more copies of the parameters: those of the last synchronisation, and the momentum.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        every: int,
        outer_lr: float = 0.7,
        outer_momentum: float = 0.9,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(model, optimizer, every=every, group=group)
        self._shared = {bucket: nn.Parameter(bucket.copy_of_parameters()) for bucket in self.buckets}
        for bucket, shared in self._shared.items():
            shared.grad = bucket.flat
        self.outer = torch.optim.SGD(self._shared.values(), outer_lr, outer_momentum, nesterov=outer_momentum > 0)

    def _contribute(self, bucket: Bucket) -> None:
        """Fill the bucket with an n-th of the shared minus the own parameters: a gradient points against the move."""
        shared_views = bucket.views_of(self._shared[bucket].detach())
        for (parameter, view), shared in zip(bucket.items(), shared_views, strict=True):
            torch.sub(shared, parameter, out=view).div_(self.group.size())

    def _continue(self) -> None:
        """Continue from where the outer optimizer moves the shared parameters."""
        self.outer.step()
        for bucket, shared in self._shared.items():
            for parameter, view in zip(bucket.parameters, bucket.views_of(shared.detach()), strict=True):
                parameter.copy_(view)
