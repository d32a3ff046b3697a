"""Weights held by several ranks: tied across stages, or in a stage with copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.algorithms.point_to_point import Peers
from lab_utils.comm.algorithms.ring import ring_all_reduce
from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.data.all_reduce import as_one_message


class Shared:
    """Sums the gradients of weights held by several ranks, so that equal weights stay equal.

    holders          per parameter the ranks that hold it, the same on all ranks, in the same order
    first_held_here  the parameters whose first holder is this rank, so that a norm has each once

    Each set of ranks sends one message for all its shared weights, around a ring: of two ranks each sends half.
    """

    def __init__(self, holders: Mapping[nn.Parameter, Sequence[int]], group: dist.ProcessGroup) -> None:
        self._among: dict[tuple[tuple[int, ...], torch.dtype], list[nn.Parameter]] = {}
        self.group, self._before = group, {}
        self.first_held_here = [parameter for parameter, ranks in holders.items() if ranks[0] == group.rank()]
        for parameter, ranks in holders.items():
            if len(ranks) > 1 and group.rank() in ranks:
                self._among.setdefault((tuple(ranks), parameter.dtype), []).append(parameter)
        self._even_out()

    def begin(self) -> None:
        """Set aside the gradients of earlier steps: they are already summed."""
        trained = {p for parameters in self._among.values() for p in parameters if p.requires_grad}
        self._before = {p: p.grad for p in trained}
        for parameter in trained:
            parameter.grad = None

    @torch.no_grad()
    def sum_gradients(self) -> None:
        """Sum the ranks' gradients of shared weights. A missing gradient counts as zero."""
        if not self._among:
            return
        with phase("sum shared"):
            for (ranks, _), parameters in self._among.items():
                if trained := [p for p in parameters if p.requires_grad]:
                    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
                    self._sum(gradients, ranks)
                    for parameter, total in zip(trained, gradients, strict=True):
                        before = self._before[parameter]
                        parameter.grad = total if before is None else before.add_(total)

    @torch.no_grad()
    def _even_out(self) -> None:
        """Copy the first holder's values to all holders."""
        for (ranks, _), parameters in self._among.items():
            first = self.group.rank() == ranks[0]
            values = [p.detach() if first else torch.zeros_like(p) for p in parameters]
            self._sum(values, ranks)
            torch._foreach_copy_(parameters, values)

    def _sum(self, tensors: Sequence[Tensor], ranks: tuple[int, ...]) -> None:
        """Replace the tensors by their sums over these ranks."""
        as_one_message(tensors, partial(ring_all_reduce, group=Peers(self.group, ranks)))
