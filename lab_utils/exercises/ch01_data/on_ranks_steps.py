"""The part of questions_steps.py's checks that runs on the ranks: gradients and orders of the reader's function.

Also imported by the notebook's kernel (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lab_utils.exercises.framework.on_ranks import find, trained


def accumulated(function: Callable | str, parts: int) -> dict[str, list[Any]]:
    """As `trained`, with gradients from the reader's `my_accumulate(model, parts)` on equal micro-batches.

    "returned" has one list: the gradients of each micro-batch alone.
    """

    def step(model, optimizer, x, y):
        pairs = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
        alone = [_alone(model, *pair) for pair in pairs]
        find(function)(model, pairs)
        return alone

    return trained(step, 1)


def from_uneven_shards(function: Callable | str, sizes: Sequence[int]) -> dict[str, list[Any]]:
    """As `accumulated`, with the reader's `my_gradients(model, x, y)` and sizes[r] of the batch's blocks on rank r."""
    import torch.distributed as dist

    def step(model, optimizer, x, y):
        uneven = [_batch_of(shard).split(list(sizes))[dist.get_rank()] for shard in (x, y)]
        alone = [_alone(model, *uneven)]
        find(function)(model, *uneven)
        return alone

    return trained(step, 1)


def ordered(function: Callable | str, blocks: int, epochs: int) -> dict[str, Any]:
    """Call the reader's `my_order(blocks, epoch)` on this rank for all epochs, twice.

    "strange": type name of a result that is not a 1-D sequence of integers; "asked": [call][epoch] lists.
    """
    import torch

    with torch.random.fork_rng(devices=[]):  # leave the reader's random state unchanged
        got = [[find(function)(blocks, epoch) for epoch in range(epochs)] for _ in range(2)]
    asked = [[_numbers(order) for order in orders] for orders in got]
    strange = [type(got[0][epoch]).__name__ for epoch in range(epochs) if asked[0][epoch] is None]
    return {"strange": strange[0] if strange else None, "asked": asked}


def _alone(model, x, y) -> dict[str, Any]:
    """Gradients of x, y [b, T] on this rank alone, without changing the model."""
    import torch

    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(model(x, y)[1], list(named.values()))
    return dict(zip(named, gradients, strict=True))


def _batch_of(shard):
    """All-gather the ranks' equal shards, joined in rank order."""
    import torch
    import torch.distributed as dist

    shards = [torch.empty_like(shard) for _ in range(dist.get_world_size())]
    dist.all_gather(shards, shard.contiguous())
    return torch.cat(shards)


def _numbers(order: object) -> list[int] | None:
    import numpy as np

    if not isinstance(order, np.ndarray | list | tuple | range) and not hasattr(order, "numpy"):
        return None
    array = np.asarray(order)
    return array.tolist() if array.ndim == 1 and (array.dtype.kind in "iu" or not array.size) else None
