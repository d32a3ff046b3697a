"""Reductions: sum, average, maximum, minimum and product of tensors, and which tensors each can reduce."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

SUM, AVG, MAX, MIN, PRODUCT = (getattr(dist.ReduceOp, op) for op in ("SUM", "AVG", "MAX", "MIN", "PRODUCT"))

# An average is a sum until the final `divide`.
_COMBINE = {SUM: torch.add, AVG: torch.add, MAX: torch.maximum, MIN: torch.minimum, PRODUCT: torch.mul}


def combine(mine: Tensor, arrived: Tensor, op: dist.ReduceOp.RedOpType, out: Tensor) -> Tensor:
    """Write `mine` op `arrived`, element-wise, to `out` (which may be either), and return it."""
    return _COMBINE[op](mine, arrived, out=out)


def total(op: dist.ReduceOp.RedOpType) -> dist.ReduceOp.RedOpType:
    """Return the op for the levels of a collective that divides once, at its end."""
    return SUM if op == AVG else op


def divide(tensor: Tensor, op: dist.ReduceOp.RedOpType, n: int) -> None:
    """Divide the sum by n, in place, for AVG; do nothing for the other ops."""
    if op == AVG:
        tensor.detach().div_(n)


def check_op(tensor: Tensor, op: dist.ReduceOp.RedOpType) -> None:
    """Raise ValueError, before anything is sent, when the op cannot reduce such tensors."""
    if op not in _COMBINE:
        raise ValueError(f"{op} is not one of SUM, AVG, MAX, MIN, PRODUCT")
    if op == AVG and not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"AVG of {tensor.dtype} would need rounding: use SUM, then divide as you mean it")
    if op in (MAX, MIN) and tensor.is_complex():
        raise ValueError(f"{op} has no meaning for {tensor.dtype}: complex numbers have no order")
