"""What runs on the ranks for chapter 00: call the reader's function and return what it did. Loaded there only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.exercises.framework.readers_function import Function, find


def gathered(function: Function, shapes: Sequence[tuple[int, ...]]) -> list[tuple[Tensor, Tensor, object]]:
    """Return (input, input after the call, result) for an input of each shape; no two ranks share a number."""
    called = []
    for shape in shapes:
        given = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape).double() + 100 * dist.get_rank()
        x = given.clone()
        called.append((given, x, find(function)(x)))
    return called


def swapped(function: Function) -> tuple[int, Tensor, object]:
    """Return (partner, partner's tensor, result of the reader's `swap`); partners are 0 and 1, 2 and 3, ..."""
    partner = dist.get_rank() ^ 1
    own, theirs = (torch.arange(3) + 10 * rank for rank in (partner ^ 1, partner))
    return partner, theirs, find(function)(own)


def totalled(function: Function) -> tuple[float, float | None]:
    """Return (the sum, result of the reader's `total`) for batches of which the last rank has one fewer."""
    n = dist.get_world_size()
    batches = [[torch.full((2,), 10.0 * rank + i) for i in range(3 - (rank == n - 1))] for rank in range(n)]
    got = find(function)(batches[dist.get_rank()])
    return sum(each.sum().item() for own in batches for each in own), None if got is None else float(got)


def scattered(function: Function, columns: int) -> tuple[Tensor, Tensor, object]:
    """Return (input, input after the call, result) for a row per rank; a rank's numbers are 10**rank times rank 0's."""
    n = dist.get_world_size()
    given = torch.arange(1, 1 + n * columns).reshape(n, columns).double() * 10.0 ** dist.get_rank()
    x = given.clone()
    return given, x, find(function)(x)
