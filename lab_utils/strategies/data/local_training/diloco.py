"""Local steps, and now and then a step of an outer optimizer, to which what the ranks have moved is a gradient.

Douillard et al. 2023, "DiLoCo: Distributed Low-Communication Training of Language Models" (arXiv 2311.08105),
algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies.data.buckets.bucket import Bucket, views
from lab_utils.strategies.data.local_training.local_sgd import LocalSGD


class DiLoCo(LocalSGD):
    """Local steps by the model's own optimizer, AdamW say, and every `every` of them one step by Nesterov's momentum.

    >>> DiLoCo(model, torch.optim.AdamW(model.parameters()), every=50)

    outer_lr, outer_momentum    of the outer optimizer: 0.7 and 0.9 in the paper (section 3). 1 and 0 are local SGD

    Between meetings a rank keeps two more copies of the parameters: where they were at the last meeting, and momentum.
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
        self._met = {bucket: self._copy(bucket) for bucket in self.buckets}
        self.outer = torch.optim.SGD(self._met.values(), outer_lr, outer_momentum, nesterov=outer_momentum > 0)

    @torch.no_grad()
    def _copy(self, bucket: Bucket) -> nn.Parameter:
        """The parameters as one, whose gradient will be what the bucket holds."""
        flat = torch.zeros_like(bucket.flat)
        for parameter, view in zip(bucket.parameters, views(flat, [p.shape for p in bucket.parameters]), strict=True):
            view.copy_(parameter)
        met = nn.Parameter(flat)
        met.grad = bucket.flat
        return met

    def _contribute(self, bucket: Bucket) -> None:
        """The n-th part of how far this rank has gone, backwards: so it is a gradient."""
        for parameter, view, met in zip(bucket.parameters, bucket.views, self._views_met(bucket), strict=True):
            torch.sub(met, parameter, out=view).div_(self.group.size())

    def _go_on(self) -> None:
        """From where the outer optimizer goes from the last meeting."""
        self.outer.step()
        for bucket in self.buckets:
            for parameter, met in zip(bucket.parameters, self._views_met(bucket), strict=True):
                parameter.copy_(met)

    def _views_met(self, bucket: Bucket) -> Iterator[Tensor]:
        return views(self._met[bucket].detach(), [view.shape for view in bucket.views])
