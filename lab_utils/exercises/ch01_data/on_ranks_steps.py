"""The part of the checks of data_steps.py that runs on the ranks: gradients and orders that the reader's function made.

Imported by the notebook's kernel too (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lab_utils.exercises.framework.on_ranks import find, trained


def accumulated(function: Callable | str, parts: int) -> dict[str, list[Any]]:
    """What `trained` returns, the gradients by the reader's `my_accumulate(model, parts)` from equal micro-batches.

    "returned" has one list: the gradients of each micro-batch alone.
    """

    def step(model, optimizer, x, y):
        pairs = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
        alone = [_alone(model, *pair) for pair in pairs]
        find(function)(model, pairs)
        return alone

    return trained(step, 1)


def from_uneven_shards(function: Callable | str, sizes: Sequence[int]) -> dict[str, list[Any]]:
    """The same by the reader's `my_gradients(model, x, y)`, where rank r's shard has sizes[r] of the batch's blocks."""
    import torch.distributed as dist

    def step(model, optimizer, x, y):
        uneven = [_batch_of(shard).split(list(sizes))[dist.get_rank()] for shard in (x, y)]
        alone = [_alone(model, *uneven)]
        find(function)(model, *uneven)
        return alone

    return trained(step, 1)


def ordered(function: Callable | str, blocks: int, epochs: int) -> dict[str, Any]:
    """What the reader's `my_order(blocks, epoch)` gives to this rank, asked for all epochs and then once again.

    "strange": the type's name where what came back is no row of whole numbers; "asked": [time][epoch] their lists.
    """
    import torch

    with torch.random.fork_rng(devices=[]):  # the reader's own random numbers go on as if nothing had been
        got = [[find(function)(blocks, epoch) for epoch in range(epochs)] for _ in range(2)]
    asked = [[_numbers(order) for order in orders] for orders in got]
    strange = [type(got[0][epoch]).__name__ for epoch in range(epochs) if asked[0][epoch] is None]
    return {"strange": strange[0] if strange else None, "asked": asked}


def _alone(model, x, y) -> dict[str, Any]:
    """The gradients of x, y [b, T] on this rank, with the model left as it is."""
    import torch

    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(model(x, y)[1], list(named.values()))
    return dict(zip(named, gradients, strict=True))


def _batch_of(shard):
    """All ranks' equal shards, joined in rank order."""
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
