"""What each rank's loss weighs, so that uneven shards and several micro-batches still give the batch's mean.

The mean of means is the mean only where all shards are as large. With n ranks, and this rank's b of the batch's B
samples, n b / B times the loss makes the mean over ranks right, whatever aggregates it: all-reduce, DDP, ZeRO.
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
    """The loss that the chapters' GPT returns beside its logits: the mean over x, y [B, T]."""
    return model(x, y)[1]


def total(samples: int, group: dist.ProcessGroup | None = None) -> int:
    """Samples of all ranks together: one all-reduce of 8 bytes. ValueError when no rank has any."""
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
    """Backward through this rank's micro-batches; what they weigh makes the sum the whole batch's gradient.

    >>> accumulate(model, parts, no_sync=buckets.no_sync); optimizer.step()     # one aggregation

    parts     (x, y) of each micro-batch, [b, ...] with any b; ranks may have different numbers of samples and of parts
    no_sync   a context in which a backward aggregates nothing; all but the last run inside

    Returns this rank's part of the whole batch's loss: its mean over the ranks is that loss, []. A rank without
    samples has to take part all the same: give it a part with b = 0 of which loss_of makes 0.
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
