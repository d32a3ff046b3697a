"""What travels between stages, known before it comes: a forward on torch's meta device computes shapes only."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab_utils.strategies.pipeline.failure import StageError, saying
from lab_utils.strategies.pipeline.passage import tensors, value
from lab_utils.strategies.pipeline.stages import Stage

Shapes = list[tuple[Tensor, ...]]  # of each boundary, tensors without memory; boundary s is what stage s takes


class Boundaries:
    """Learns for each shape of a micro-batch what each stage takes.

    >>> boundaries.of(x)[1]        # what stage 1 takes of micro-batch x, as tensors without memory

    A tensor that requires a gradient there gets one sent back.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = [_without_memory(stage) for stage in stages]
        self._known: dict[tuple[torch.Size, torch.dtype], Shapes] = {}

    def of(self, x: Tensor) -> Shapes:
        """StageError when a stage cannot compute with shapes alone, or not with this one."""
        key = x.shape, x.dtype
        if key not in self._known:
            self._known[key] = self._learn(torch.empty_like(x, device="meta"))
        return self._known[key]

    def _learn(self, x: Tensor) -> Shapes:
        found: Shapes = [(x,)]
        for number, stage in enumerate(self._stages[:-1]):
            given = tuple(t.detach().requires_grad_(t.requires_grad) for t in found[-1])
            what = f"computing stage {number} with shapes alone, for x [{', '.join(map(str, x.shape))}],"
            # What the forward makes of its own is there, too; a tensor that a module just keeps has to be a buffer.
            with saying(StageError, what), torch.device("meta"), torch.enable_grad():
                output = tensors(stage(value(given)))
            found.append(tuple(_plain(t) for t in output))
        return found


def _plain(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta", requires_grad=tensor.requires_grad)


def _without_memory(stage: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes only."""
    memo: dict[int, Tensor] = {}
    for tensor in [*stage.parameters(), *stage.buffers()]:
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(stage, memo)
