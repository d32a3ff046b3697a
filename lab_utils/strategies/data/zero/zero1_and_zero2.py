"""ZeRO-1 and ZeRO-2: each rank keeps its piece of the optimizer state, and in ZeRO-2 of the gradients.

Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (SC 20), sections 5.1
and 5.2. On the wire: a reduce-scatter of the gradients and an all-gather of the parameters, together as much as the
all-reduce that they replace (section 7.2.1).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import names_of, trained
from lab_utils.strategies.data.buckets.overlapped import MB
from lab_utils.strategies.data.zero.flat_parameters import FlatParameters, flatten, update_pieces_only
from lab_utils.strategies.data.zero.reduce_scatter import scatter_gradients


class ShardedOptimizer:
    """ZeRO-1: shards the optimizer state; parameters and gradients are whole on every rank.

    >>> zero = ShardedOptimizer(model, torch.optim.AdamW(model.parameters()))
    >>> loss.backward(); optimizer.step(); optimizer.zero_grad()      # as in serial training

    The optimizer keeps its groups and its schedule, and updates this rank's pieces, which are flat: exact for
    element-wise updates. Inside `zero.buckets.no_sync()` gradients accumulate. ValueError for an optimizer that has
    already run steps or needs whole tensors.
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
        self.buckets = scatter_gradients(model, self.flats, self.group, self.frees_gradients)
        optimizer.register_step_post_hook(lambda *_: self.refresh())

    def refresh(self) -> None:
        """Gather the updated pieces: two at a time, since gloo copies what more than two ranks gather."""
        ahead = [flat.gather(self.group) for flat in self.flats[:2]]
        for flat in self.flats[2:]:
            ahead.pop(0).wait()
            ahead.append(flat.gather(self.group))
        for work in ahead:
            work.wait()


class ShardedGradients(ShardedOptimizer):
    """ZeRO-2: as ZeRO-1, and reduced gradients are kept in pieces only.

    The whole gradients are freed while the backward still runs. Several backwards accumulate in the pieces, each with
    its own reduce-scatter.
    """

    frees_gradients = True
