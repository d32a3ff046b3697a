"""ZeRO's first stage: each rank keeps the optimizer's state of its piece only.

Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (SC 20), section 5.1.
On the wire: a reduce-scatter of the gradients and an all-gather of the parameters, together as much as the all-reduce
that they replace (section 7.2.1).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import names_of, trained
from lab_utils.strategies.data.buckets.overlapped import MB, Buckets
from lab_utils.strategies.data.zero.flat_parameters import FlatParameters, flatten, update_pieces_only
from lab_utils.strategies.data.zero.reduce_scatter import Scatter


class ShardedOptimizer:
    """ZeRO-1: the optimizer's state is sharded; parameters and gradients are whole on every rank.

    >>> zero = ShardedOptimizer(model, torch.optim.AdamW(model.parameters()))
    >>> loss.backward(); optimizer.step(); optimizer.zero_grad()      # as in serial training

    The optimizer stays the user's own, with its groups and its schedule; it now updates this rank's pieces, which are
    flat. Exact for optimizers that work on each element by itself. Inside `zero.buckets.no_sync()` gradients add up.
    ValueError for an optimizer that has made steps or needs whole tensors.
    """

    frees_gradients = False

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        group: dist.ProcessGroup | None = None,
        bucket_mb: float = 8,
    ) -> None:
        self.model, self.optimizer, self.group = model, optimizer, group or dist.group.WORLD
        replicate(model, self.group)
        order = list(reversed(trained(model)))
        self.flats: list[FlatParameters] = flatten(order, names_of(model), optimizer, self.group, int(bucket_mb * MB))
        update_pieces_only(optimizer, self.flats)
        scatter = Scatter(self.flats, self.frees_gradients)
        given = [flat.bucket for flat in self.flats]
        self.buckets = Buckets(model, group=self.group, reduce=scatter, given=given, keep=False, begin=scatter.begin)
        if self.frees_gradients:
            for bucket in given:
                bucket.free()
        optimizer.register_step_post_hook(lambda *_: self.refresh())

    def refresh(self) -> None:
        """Bring the pieces together, when every rank has updated its own.

        Two at a time, since gloo copies what more than two ranks gather.
        """
        ahead = [flat.gather(self.group) for flat in self.flats[:2]]
        for flat in self.flats[2:]:
            ahead.pop(0).wait()
            ahead.append(flat.gather(self.group))
        for work in ahead:
            work.wait()
