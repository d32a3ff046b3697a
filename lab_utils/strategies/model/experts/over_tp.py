"""Shoeybi et al. 2019, "Megatron-LM", section 3: the two conjugate operators f and g, around experts split over tp.

x is the same on all ranks of tp, and rank r computes y_r = E_r(x), of which the expert's output is y = Σ_r y_r.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class Enter(torch.autograd.Function):
    """f: hands x to every rank's part; in backward, the sum over the ranks.

    L depends on x through all y_r, and rank r's backward knows its own only:
    dL/dx = Σ_r (∂y_r/∂x)ᵀ dL/dy_r,
    a sum over the ranks of what each has computed.
    """

    @staticmethod
    def forward(ctx, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


class Leave(torch.autograd.Function):
    """g: the sum of the ranks' parts; in backward, nothing.

    y = Σ_r y_r, so dL/dy_r = dL/dy,
    which every rank has already, as what follows is the same on all: to sum it would make it tp × too large.
    """

    @staticmethod
    def forward(ctx, part: Tensor, group: dist.ProcessGroup) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
