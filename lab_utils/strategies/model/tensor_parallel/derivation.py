"""The operators as matrices on all ranks' tensors stacked, found by probing: backward's is the transpose of forward's.

With L a function of the ranks' outputs y = A x, dL/dx = Aᵀ dL/dy: that is all that backward has to be. What A is
depends on what counts once. A number of the model that all ranks hold is one entry of x, not n of them:

    copy      A = [1; 1]      Aᵀ = [1 1], the sum over the ranks
    reduce    A = [1 1]       Aᵀ = [1; 1], the gradient to each rank as it is
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

Operator = Callable[[Tensor, dist.ProcessGroup], Tensor]

# What the ranks hold in common, and which therefore counts once.
ONCE = {"copy": "x", "reduce": "y", "gather_tokens": "", "reduce_scatter": "", "scatter": "x", "gather": "y"}


def matrices(operator: Operator, group: dist.ProcessGroup, shape: Sequence[int], once: str) -> tuple[Tensor, Tensor]:
    """Return the operator's matrix [outputs, inputs] and its backward's [inputs, outputs]; all ranks call it.

    >>> forward, backward = matrices(copy, mesh.group("tp"), (2, 3), ONCE["copy"])
    >>> torch.equal(backward, forward.T)
    True

    shape  of a rank's x
    once   "x" where all ranks hold the same x, "y" where they do the same y, "" where each has its own
    """
    numbers = {"dtype": torch.float64}

    def backward(dy: Tensor) -> Tensor:
        x = torch.zeros(*shape, **numbers, requires_grad=True)
        return torch.autograd.grad(operator(x, group), x, dy)[0]

    outputs = operator(torch.zeros(*shape, **numbers), group).shape
    forward = _probe(lambda x: operator(x, group), shape, "x" in once, "y" in once, group)
    return forward, _probe(backward, outputs, "y" in once, "x" in once, group)


def _probe(of: Operator, shape: Sequence[int], in_once: bool, out_once: bool, group: dist.ProcessGroup) -> Tensor:
    """Return the matrix of a linear function: a column per input element, 1 there and 0 elsewhere."""
    columns = []
    for owner in range(1 if in_once else group.size()):
        for at in range(math.prod(shape)):
            unit = torch.zeros(math.prod(shape), dtype=torch.float64)
            unit[at] = in_once or owner == group.rank()
            y = of(unit.view(*shape)).reshape(-1)
            everyones = [torch.empty_like(y) for _ in range(group.size())]
            dist.all_gather(everyones, y.contiguous(), group=group)
            columns.append(y if out_once else torch.cat(everyones))
    return torch.stack(columns, 1)
