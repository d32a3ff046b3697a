"""Gradient clipping by the norm of a gradient that several ranks hold in parts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


@torch.no_grad()
def clip(
    parameters: Iterable[nn.Parameter],
    max_norm: float,
    group: dist.ProcessGroup | None = None,
    in_norm: Iterable[nn.Parameter] | None = None,
) -> Tensor:
    """Scale the gradients of all ranks to a total norm of at most max_norm; return the norm before, [], float64.

    >>> clip([flat.piece for flat in zero.flats], 1.0, zero.group)     # between backward and step

    As torch.nn.utils.clip_grad_norm_ on the whole gradient, with one all-reduce of one number. Clipping per rank would
    scale each rank by its own part of the norm, so the parts would no longer form one gradient.

    in_norm   the parameters that contribute to the norm; all by default. A weight on several ranks counts on one only
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    own = gradients if in_norm is None else [p.grad for p in in_norm if p.grad is not None]
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in own]
    square = torch.nn.utils.get_total_norm(norms).double().square()
    dist.all_reduce(square, group=group)
    norm = square.sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    if gradients:  # a rank may have none
        torch._foreach_mul_(gradients, scale.item())
    return norm
