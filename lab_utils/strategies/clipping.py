"""The norm of a gradient sharded over ranks, and clipping by it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def clip(pieces: Iterable[nn.Parameter], max_norm: float, group: dist.ProcessGroup | None = None) -> Tensor:
    """Scale the gradients of all ranks' pieces so that their common norm is at most max_norm; the norm before, [].

    >>> clip([flat.piece for flat in zero.flats], 1.0, zero.group)     # between backward and step

    As torch.nn.utils.clip_grad_norm_ on whole gradients, with one all-reduce of one number. On each rank alone it would
    scale by that rank's part of the norm, and the pieces would no longer be of one gradient.
    """
    gradients = [piece.grad for piece in pieces if piece.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    square = norm.square()
    dist.all_reduce(square, group=group)
    norm = square.sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale)
    return norm
