"""Memory of tensors of any kind, and the FLOPs of kernels on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor


class Uncounted(Exception):
    """The work of a kernel is unknown."""


def parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors that hold a tensor's memory: indices and values of a sparse one; () for unknown layouts."""
    layout = tensor.layout
    if layout is torch.strided:
        return (tensor,)
    if layout is torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return ()


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of all elements; of a sparse tensor, of those it stores."""
    if tensor.layout is torch.strided:
        return tensor.numel() * tensor.element_size()
    return sum(part.numel() * part.element_size() for part in parts(tensor))


def size_of(values: Iterable[Any]) -> int:
    """Return the bytes of the tensors among the values, and in lists among them."""
    size = 0
    for value in values:
        if isinstance(value, Tensor):
            size += value.nbytes if value.layout is torch.strided and value.is_contiguous() else _other_size(value)
        elif isinstance(value, list | tuple):
            size += size_of(value)
    return size


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among the values, and in lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def is_common(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _other_size(tensor: Tensor) -> int:
    """Return the bytes of a tensor that is not contiguous and strided: expanded dims hold the same elements again."""
    if tensor.layout is not torch.strided:
        if not (held := parts(tensor)):
            raise Uncounted(f"the size of a tensor of layout {tensor.layout} is not known")
        return size_of(held)
    if 0 not in (steps := tensor.stride()):
        return tensor.nbytes
    return prod([n for n, step in zip(tensor.shape, steps, strict=True) if step]) * tensor.itemsize


def flops_of(formula: Callable[..., int], args: tuple, kwargs: dict, out: Any) -> int:
    if getattr(formula, "_get_raw", False):  # it reads the tensors themselves
        return formula(*args, **kwargs, out_val=out)
    return _flops_of(formula, _shape(args), tuple((name, _shape(value)) for name, value in kwargs.items()), _shape(out))


@lru_cache(maxsize=4096)
def _flops_of(formula: Callable[..., int], args: tuple, kwargs: tuple, out: Any) -> int:
    return formula(*args, **dict(kwargs), out_val=out)


def _shape(value: Any) -> Any:
    """Replace tensors in the value by their shapes, which is all that a formula reads."""
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            raise Uncounted("what a kernel does with a sparse tensor, its shape does not tell")
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, list | tuple) else value


def is_meta(out: Any) -> bool:
    """Return whether only shapes were computed."""
    if isinstance(out, list | tuple):
        return any(map(is_meta, out))
    return isinstance(out, Tensor) and out.is_meta
