"""`report(step=i, gradient_norms=gradient_norms(model))`: norms of plain and sharded gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Partial, Shard

from lab_utils.widgets.gradient_flow.probe_buckets import by_identity
from lab_utils.widgets.gradient_flow.probe_compare import local


@torch.no_grad()
def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Return parameter name → Euclidean norm of its current gradient; parameters without one are left out.

    >>> report(step=i, gradient_norms=gradient_norms(model))    # in the notebook: on_report=NormMap().on_report

    For sharded gradients (FSDP2, tensor parallel) it is the norm of the whole: one small all-reduce per mesh dim, in
    which all of its ranks must take part. ValueError for Partial gradients.
    """
    gradients = {name: p.grad for name, p in by_identity(model).values() if p.grad is not None}
    squares = {name: local(gradient).double().square().sum() for name, gradient in gradients.items()}
    for group, names in _sharded(gradients):
        together = torch.stack([squares[name] for name in names])
        dist.all_reduce(together, group=group)
        squares |= zip(names, together, strict=True)
    return {name: square.sqrt().item() for name, square in squares.items()}


def _sharded(gradients: dict[str, Tensor]) -> Iterator[tuple[dist.ProcessGroup, list[str]]]:
    """Yield the process group of each mesh dim and the names of gradients sharded along it."""
    found: dict[str, tuple[dist.ProcessGroup, list[str]]] = {}
    for name, gradient in gradients.items():
        if not isinstance(gradient, DTensor):
            continue
        for dim, placement in enumerate(gradient.placements):
            if isinstance(placement, Partial):
                raise ValueError(f"the gradient of {name} has yet to be added up over ranks: its norm is not known")
            if isinstance(placement, Shard) or type(placement).__name__ == "_StridedShard":
                group = gradient.device_mesh.get_group(dim)
                found.setdefault(group.group_name, (group, []))[1].append(name)
    yield from found.values()
