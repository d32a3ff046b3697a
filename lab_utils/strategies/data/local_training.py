"""Ranks that train on their own and then synchronise: local SGD averages their parameters, DiLoCo takes an outer step.

Stich 2019, "Local SGD Converges Fast and Communicates Little" (ICLR), algorithm 1.
Douillard et al. 2023, "DiLoCo: Distributed Low-Communication Training of Language Models" (arXiv 2311.08105),
algorithm 1: the distance that the ranks have moved is the gradient of an outer optimizer.
"""

from __future__ import annotations

from itertools import chain

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import NO_LIMIT, Bucket, assign_buckets, trained
from lab_utils.strategies.data.compression.error_feedback import Counted


class LocalSGD(Counted):
    """Averages the parameters over the ranks after every `every` steps of the optimizer.

    >>> local = LocalSGD(model, optimizer, every=16)      # also broadcasts the first rank's parameters
    >>> loss.backward(); optimizer.step()                 # as in serial training
    >>> local.synchronise()                               # at the end, if steps are left over

    Each synchronisation sends as much as an all-reduce of the gradients: 1/every of the bytes. Optimizer state and
    buffers stay per rank. With every=1 and plain or momentum SGD this is serial training. All ranks run the same number
    of steps.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        every: int,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every={every}: ranks synchronise after every step, or after several")
        self.every, self.group, self.steps_alone = every, group or dist.group.WORLD, 0
        replicate(model, self.group)
        self.buckets: list[Bucket] = assign_buckets(trained(model), NO_LIMIT, NO_LIMIT, self.group.size())
        for bucket in self.buckets:
            bucket.free()
        self._hook = optimizer.register_step_post_hook(lambda *_: self._count())

    def remove(self) -> None:
        """Remove the hook: the optimizer's steps synchronise no longer."""
        self._hook.remove()

    def _count(self) -> None:
        self.steps_alone += 1
        if self.steps_alone == self.every:
            self.synchronise()

    @torch.no_grad()
    def synchronise(self) -> None:
        """Synchronise now, if there were steps since the last time."""
        if not self.steps_alone:
            return
        self.steps_alone = 0
        for bucket in self.buckets:
            bucket.take()
            self._contribute(bucket)
        for work in [self.all_reduce(bucket.flat, self.group) for bucket in self.buckets]:
            work.wait()
        self._continue()
        for bucket in self.buckets:
            bucket.free()

    def _contribute(self, bucket: Bucket) -> None:
        """Fill the bucket with this rank's n-th part of the mean."""
        for parameter, view in bucket.items():
            torch.div(parameter, self.group.size(), out=view)

    def _continue(self) -> None:
        """Continue from the mean, which the buckets hold."""
        for parameter, view in chain.from_iterable(bucket.items() for bucket in self.buckets):
            parameter.copy_(view)


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
