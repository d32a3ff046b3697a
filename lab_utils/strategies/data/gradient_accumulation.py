"""Weights for the loss, so that uneven shards and several micro-batches still average to the batch's mean.

The mean of means is the mean only for equal shards. With n ranks, a micro-batch of b of the batch's B samples weighs
n b / B: then the mean over ranks is right, whatever aggregates the gradients (all-reduce, DDP, ZeRO).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def model_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss that the lab's GPT returns beside its logits: the mean over x, y [B, T]."""
    return model(x, y)[1]


def total(samples: int, group: dist.ProcessGroup | None = None) -> int:
    """Return the samples of all ranks together, by one all-reduce of 8 bytes. ValueError when no rank has any."""
    count = torch.tensor(samples)
    dist.all_reduce(count, group=group)
    if not count:
        raise ValueError("no rank has a sample: a batch needs at least one")
    return int(count)


def accumulate(
    model: nn.Module,
    parts: Sequence[tuple[Tensor, Tensor]],
    *,
    no_sync: Callable[[], AbstractContextManager] = nullcontext,
    loss_of: Loss = model_loss,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Run forward and backward of this rank's micro-batches, weighted so that the gradient is the whole batch's.

    >>> accumulate(model, parts, no_sync=buckets.no_sync); optimizer.step()     # one aggregation

    parts     (x, y) of each micro-batch, [b, ...] with any b; numbers of samples and of parts may differ between ranks
    no_sync   a context in which a backward aggregates nothing; all but the last run inside

    Returns this rank's part of the whole batch's loss, []: the mean over the ranks is that loss. A rank without samples
    takes part all the same, with a part of b = 0 for which loss_of returns 0.
    """
    ranks = dist.get_world_size(group)
    all_samples = total(sum(len(x) for x, _ in parts), group)
    losses = []
    for number, (x, y) in enumerate(parts):
        with nullcontext() if number == len(parts) - 1 else no_sync():
            with phase("forward"):
                loss = loss_of(model, x, y) * (ranks * len(x) / all_samples)
            with phase("backward"):
                loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()
