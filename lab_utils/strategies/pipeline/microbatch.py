"""One micro-batch's way through one stage: forward, and later its backward, at once or in two parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lab_utils.strategies.pipeline.errors import StageError, reraise_as
from lab_utils.strategies.pipeline.split_backward import Cut, Gradients, backward_input
from lab_utils.strategies.pipeline.stages import Stage, Value

Loss = Callable[[Value], Tensor]


class StagePass:
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


# What travels between stages, known before it comes: a forward on torch's meta device computes shapes only.
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
            with reraise_as(StageError, what), torch.device("meta"), torch.enable_grad():
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
