"""Data parallelism in its plainest form: after the backward, one all-reduce of all gradients.

Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (VLDB 13), section 3.2.1.
With equal shards the mean over ranks of each shard's mean is the mean over the batch. So the gradients equal those of
serial training on the whole batch, and replicas that start equal stay equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase


def replicate(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Broadcast the first rank's parameters and buffers to all ranks."""
    tensors = [*model.parameters(), *model.buffers()]
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype is dtype]
        as_one_message(alike, partial(dist.broadcast, group=group, group_src=0))


def aggregate(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Replace each gradient by its mean over the ranks."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    average = partial(dist.all_reduce, op=dist.ReduceOp.AVG, group=group)
    as_one_message(gradients, average)


def aggregate_one_by_one(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """The same with one message per parameter, each of which waits for all ranks."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad, dist.ReduceOp.AVG, group=group)


@torch.no_grad()
def as_one_message(tensors: Sequence[Tensor], run: Callable[[Tensor], object]) -> None:
    """Run a collective on the tensors joined into one, in place: each of thirty small ones would wait for all ranks."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    run(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def mean(value: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Return the mean over the ranks of a tensor of any shape, such as the loss []."""
    total = value.detach().clone()
    dist.all_reduce(total, dist.ReduceOp.AVG, group=group)
    return total


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, group: dist.ProcessGroup | None = None
) -> Tensor:
    """Run one step on this rank's shard x, y [B / ranks, T]; return the whole batch's loss before the update, []."""
    optimizer.zero_grad()
    with phase("forward"):
        _, loss = model(x, y)
    with phase("backward"):
        loss.backward()
    with phase("aggregate"):
        aggregate(model, group)
        loss = mean(loss, group)
    with phase("update"):
        optimizer.step()
    return loss
