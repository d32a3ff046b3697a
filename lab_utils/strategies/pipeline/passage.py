"""One micro-batch's way through one stage: forward, and later its backward, at once or in two parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lab_utils.strategies.pipeline.split import Cut, Gradients, backward_input
from lab_utils.strategies.pipeline.stages import Stage, Value

Loss = Callable[[Value], Tensor]


class Passage:
    """Keeps what the backward needs. When nobody holds it any more, the memory is free.

    given     what the stage took, each tensor as a leaf of its own
    loss      where the stage is the last: what `loss_of` made of it, []
    """

    def __init__(self, stage: Stage, given: Sequence[Tensor], wanted: Sequence[bool], loss_of: Loss | None = None):
        """wanted: of which of the given tensors somebody needs the gradient."""
        self.given = tuple(t.detach().requires_grad_(w) for t, w in zip(given, wanted, strict=True))
        self._split_at: list[GradientEdge] = [get_gradient_edge(t) for t in self.given if t.requires_grad]
        self._cuts: list[Cut] | None = None
        # Where nobody needs the input's gradient, the backward is split behind the first unit with weights. So B has
        # the gradients inside the stage to compute there, and W those of the weights, as everywhere.
        output = stage(value(self.given)) if self._split_at else stage(value(self.given), self._split_behind)
        self.loss = None
        if loss_of is not None:
            output = loss = loss_of(output)
            self.loss = loss.detach()
            self._check(loss, stage)
        output = tensors(output)
        self._output = tuple(t.detach() for t in output)
        self._edges = [get_gradient_edge(t) for t in output if t.requires_grad]

    def _split_behind(self, output: Value) -> None:
        if not self._split_at:
            self._split_at = [get_gradient_edge(t) for t in tensors(output) if t.requires_grad]

    def _check(self, loss: Tensor, stage: Stage) -> None:
        """Without it a loss that somebody detached would train nothing, and say nothing."""
        trained = any(t.requires_grad for t in (*self.given, *stage.parameters()))
        if trained and not loss.requires_grad:
            raise ValueError("the loss has no gradient: was it detached, or is torch.no_grad() on (see `evaluate`)?")

    def take_output(self) -> tuple[Tensor, ...]:
        """What the stage gave. The backward needs the graph only, so this memory is the caller's."""
        output, self._output = self._output, ()
        return output

    def backward(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """BW: gradients of the output -> of the given tensors; those of the weights are added up."""
        if self._edges:
            torch.autograd.backward(self._edges, self._of_output(gradients))
        return self._of_given([t.grad for t in self.given if t.requires_grad])

    def backward_input(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """B: gradients of the output -> of the given tensors; the weights are left for W."""
        found, self._cuts = backward_input(self._edges, self._of_output(gradients), self._split_at)
        return self._of_given(found)

    def backward_weight(self) -> None:
        """W: add up the gradients of the weights."""
        cuts, self._cuts = self._cuts, None
        for cut in cuts:
            cut.run()

    def _of_given(self, found: Gradients) -> tuple[Tensor, ...]:
        """Zeros for what had no part in the output: whoever waits for a gradient gets one."""
        own = [t for t in self.given if t.requires_grad]
        return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(own, found, strict=False))

    def _of_output(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        return [torch.ones_like(self.loss)] if self.loss is not None and self._edges else list(gradients)


def tensors(of: Value) -> tuple[Tensor, ...]:
    """TypeError for what cannot go from stage to stage."""
    if isinstance(of, Tensor):
        return (of,)
    if not isinstance(of, tuple | list) or not of or not all(isinstance(each, Tensor) for each in of):
        several = isinstance(of, tuple | list)
        given = f"({', '.join(type(each).__name__ for each in of)})" if several else type(of).__name__
        raise TypeError(f"it gives {given}: from stage to stage go tensors, one or a tuple of them")
    return tuple(of)


def value(of: tuple[Tensor, ...]) -> Value:
    return of[0] if len(of) == 1 else of
