"""Gradients that go from stage to stage: of what a stage was given, which it sends back, and of what it gave."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from lab_utils.comm.clock import Moment
from lab_utils.comm.gradient_compare import local
from lab_utils.timeline.gradients import Gradient, Kind


class Edges:
    """Watches the tensors that go into and come out of `model` in forwards from now on; `remove()` ends it."""

    def __init__(self, model: nn.Module, stage: str, now: Callable[[], Moment]) -> None:
        self._stage, self._now = stage, now
        self._found: dict[str, _Edge] = {}
        self._hook = model.register_forward_hook(self._forward, with_kwargs=True)

    def remove(self) -> None:
        self._hook.remove()

    def gradients(self, seconds: Callable[[Moment], float], rounds: int) -> list[Gradient]:
        """Those of the last `rounds` micro-batches together, 0 for all: "stage 1 output", "stage 1 input".

        The parameters' gradients came in so many backwards. PyTorch's pipelining tries a stage out before its first
        step, for shapes, with what happens to lie in memory: no parameter takes a gradient then.
        """
        return [edge.gradient(name, seconds, rounds) for name, edge in self._found.items() if edge.came]

    def _forward(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._watch("input", (args, kwargs))
        self._watch("output", output)

    def _watch(self, kind: Kind, values: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.requires_grad]
        for number, tensor in enumerate(tensors):
            name = f"{self._stage} {kind}{f' {number}' if len(tensors) > 1 else ''}"
            edge = self._found.setdefault(name, _Edge(kind, tuple(tensor.shape)))
            tensor.register_hook(partial(edge.note, self._now))


class _Edge:
    """One such tensor, a gradient for each micro-batch."""

    def __init__(self, kind: Kind, shape: tuple[int, ...]) -> None:
        self.kind, self.shape = kind, shape
        self.came: list[tuple[Moment, int, Tensor]] = []  # when, bytes, the sum of squares

    def note(self, now: Callable[[], Moment], gradient: Tensor) -> None:
        at = now()
        with torch.no_grad(), _disable_current_modes():  # no kernel of the program's
            own = local(gradient)
            self.came.append((at, own.nbytes, own.double().square().sum()))

    def gradient(self, name: str, seconds: Callable[[Moment], float], rounds: int) -> Gradient:
        moments, sizes, squares = zip(*self.came[-rounds:], strict=True)
        norm = torch.stack(squares).sum().sqrt().item()
        return Gradient(name, self.shape, sum(sizes), tuple(map(seconds, moments)), norm, kind=self.kind)
