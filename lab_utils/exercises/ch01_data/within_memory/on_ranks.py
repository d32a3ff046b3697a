"""What runs on the ranks for exercise 01.18: the reader's ZeRO-3 under a memory limit, and serial. Loaded there only.

C CHANNELS   n ranks   b samples per rank
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.exercises.ch01_data.within_memory.numbers import CHANNELS, LAYERS, SAMPLES, limit_of
from lab_utils.exercises.ch01_data.within_memory.on_ranks_limit import MemoryLimit, raised_at_the_reader_s_line
from lab_utils.exercises.framework.on_ranks_training import number_of
from lab_utils.exercises.framework.readers_function import Function, find

MOST_RANKS = 4  # whose orders are all tried


def within_limit(function: Function) -> dict[str, Any]:
    """Call the reader's `my_zero3(pieces, x, y)` on this rank's rows [C / n, C] of each weight, and part of the batch.

    "loss": what it returned, tensors as numbers; "wanted": the loss of this rank's part of the batch; "orders": that
    loss with the ranks' rows in another order; "gradients": each piece.grad; "serial": all rows of the whole batch's
    gradients; "own": this rank's rows of its own part's; "changed": layers whose piece is not as before; "left": what
    it did not free.
    """
    rank, ranks = dist.get_rank(), dist.get_world_size()
    weights, batch = _weights(), _batch(ranks)
    mine = tuple(each.chunk(ranks)[rank] for each in batch)
    pieces = [nn.Parameter(weight.chunk(ranks)[rank].clone()) for weight in weights]
    for piece in pieces:
        piece.grad = torch.zeros_like(piece)
    limit = MemoryLimit(weights, pieces, limit_of(ranks))
    with raised_at_the_reader_s_line(), limit:
        returned = number_of(find(function)(pieces, *(each.clone() for each in mine)))
    return {
        "loss": returned,
        "wanted": _loss(weights, *mine).item(),
        "orders": _orders(weights, mine, ranks),
        "gradients": [piece.grad for piece in pieces],
        "serial": _gradients(weights, *batch),
        "own": [each.chunk(ranks)[rank] for each in _gradients(weights, *mine)],
        "changed": [i for i, piece in enumerate(pieces) if not torch.equal(piece, weights[i].chunk(ranks)[rank])],
        "left": limit.left(),
    }


def _weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = {"generator": generator, "dtype": torch.float64}
    return [torch.randn(CHANNELS, CHANNELS, **sizes) * 1.5 / CHANNELS**0.5 for _ in range(LAYERS)]


def _batch(ranks: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, SAMPLES * ranks, CHANNELS, generator=generator, dtype=torch.float64)
    return x, y


def _loss(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    for weight in weights:
        x = torch.tanh(nn.functional.linear(x, weight))
    return ((x - y) ** 2).mean()


def _gradients(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> list[Tensor]:
    whole = [weight.clone().requires_grad_() for weight in weights]
    return list(torch.autograd.grad(_loss(whole, x, y), whole))


def _orders(weights: Sequence[Tensor], mine: tuple[Tensor, Tensor], ranks: int) -> dict[tuple[int, ...], float]:
    """Return order of the ranks → loss with the rows in that order, for every wrong order of few ranks."""
    if ranks > MOST_RANKS:
        return {}
    _, *wrong = permutations(range(ranks))
    parts = [weight.chunk(ranks) for weight in weights]
    return {order: _loss([torch.cat([each[r] for r in order]) for each in parts], *mine).item() for order in wrong}
