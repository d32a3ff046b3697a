"""Ranks that train on their own, and every H steps go on from the mean of their parameters.

Stich 2019, "Local SGD Converges Fast and Communicates Little" (ICLR), algorithm 1.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import Bucket, cut, trained
from lab_utils.strategies.data.compression.error_feedback import Counted

ONE_MESSAGE = 2**62  # bytes: one bucket for each dtype and device


class LocalSGD(Counted):
    """Every `every` steps of the optimizer the parameters become their mean over the ranks.

    >>> local = LocalSGD(model, optimizer, every=16)      # gives all ranks the first rank's parameters, too
    >>> loss.backward(); optimizer.step()                 # as in serial training
    >>> local.synchronise()                               # once more at the end, if steps are left over

    Each meeting sends what an all-reduce of the gradients would send in each step: an `every`-th of the bytes. The
    optimizer's state and the model's buffers stay each rank's own. With every=1 and plain or momentum SGD this is
    serial training. All ranks have to make as many steps.
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
            raise ValueError(f"every={every}: ranks meet every 1 step or more")
        self.every, self.group, self.steps_alone = every, group or dist.group.WORLD, 0
        replicate(model, self.group)
        self.buckets: list[Bucket] = cut(trained(model), ONE_MESSAGE, ONE_MESSAGE, self.group.size())
        for bucket in self.buckets:
            bucket.free()
        self._hook = optimizer.register_step_post_hook(lambda *_: self._stepped())

    def remove(self) -> None:
        """Let the optimizer be as it was: ranks do not meet any more."""
        self._hook.remove()

    def _stepped(self) -> None:
        self.steps_alone += 1
        if self.steps_alone == self.every:
            self.synchronise()

    @torch.no_grad()
    def synchronise(self) -> None:
        """Meet now. Does nothing where no step has been made since the last time."""
        if not self.steps_alone:
            return
        self.steps_alone = 0
        for bucket in self.buckets:
            bucket.take()
            self._contribute(bucket)
        for work in [self.all_reduce(bucket.flat, self.group) for bucket in self.buckets]:
            work.wait()
        self._go_on()
        for bucket in self.buckets:
            bucket.free()

    def _contribute(self, bucket: Bucket) -> None:
        """This rank's n-th part of the mean."""
        for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
            torch.div(parameter, self.group.size(), out=view)

    def _go_on(self) -> None:
        """From the mean, which is in the buckets now."""
        for bucket in self.buckets:
            for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
                parameter.copy_(view)
