"""One micro-batch's pass through one stage: forward, and later its backward, whole or split in two."""

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
    """Holds what the backward needs; the memory is freed when the object is released.

    given     the stage's inputs, each detached as a leaf
    loss      of the last stage only: the output of `loss_of`, []
    """

    def __init__(self, stage: Stage, given: Sequence[Tensor], wanted: Sequence[bool], loss_of: Loss | None = None):
        """wanted: which of the given tensors need a gradient."""
        self.given = tuple(t.detach().requires_grad_(w) for t, w in zip(given, wanted, strict=True))
        self._split_at: list[GradientEdge] = [get_gradient_edge(t) for t in self.given if t.requires_grad]
        self._cuts: list[Cut] | None = None
        # If no input needs a gradient, the backward is split behind the first unit with weights: B computes the
        # gradients inside the stage, and W those of the weights, as in other stages.
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
        """Raise ValueError for a detached loss: it would silently train nothing."""
        trained = any(t.requires_grad for t in (*self.given, *stage.parameters()))
        if trained and not loss.requires_grad:
            raise ValueError("the loss has no gradient: was it detached, or is torch.no_grad() on (see `evaluate`)?")

    def take_output(self) -> tuple[Tensor, ...]:
        """Return the stage's output and release it: the backward needs the graph only."""
        output, self._output = self._output, ()
        return output

    def backward(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """BW: gradients of the output -> gradients of the given tensors; those of the weights accumulate."""
        if self._edges:
            torch.autograd.backward(self._edges, self._of_output(gradients))
        return self._of_given([t.grad for t in self.given if t.requires_grad])

    def backward_input(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """B: gradients of the output -> gradients of the given tensors; those of the weights are left for W."""
        found, self._cuts = backward_input(self._edges, self._of_output(gradients), self._split_at)
        return self._of_given(found)

    def backward_weight(self) -> None:
        """W: accumulate the gradients of the weights."""
        cuts, self._cuts = self._cuts, None
        for cut in cuts:
            cut.run()

    def _of_given(self, found: Gradients) -> tuple[Tensor, ...]:
        """Return zeros for tensors that did not contribute to the output: their rank waits for a gradient."""
        own = [t for t in self.given if t.requires_grad]
        return tuple(torch.zeros_like(t) if g is None else g for t, g in zip(own, found, strict=False))

    def _of_output(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        return [torch.ones_like(self.loss)] if self.loss is not None and self._edges else list(gradients)


def tensors(of: Value) -> tuple[Tensor, ...]:
    """Return the tensors as a tuple. TypeError for values that cannot be sent from stage to stage."""
    if isinstance(of, Tensor):
        return (of,)
    if not isinstance(of, tuple | list) or not of or not all(isinstance(each, Tensor) for each in of):
        several = isinstance(of, tuple | list)
        given = f"({', '.join(type(each).__name__ for each in of)})" if several else type(of).__name__
        raise TypeError(f"it gives {given}: from stage to stage go tensors, one or a tuple of them")
    return tuple(of)


def value(of: tuple[Tensor, ...]) -> Value:
    return of[0] if len(of) == 1 else of


# Shapes sent between stages, known before they arrive: a forward on torch's meta device computes shapes only.
Shapes = list[tuple[Tensor, ...]]  # per boundary, meta tensors; boundary s is the input of stage s


class Boundaries:
    """Infers the inputs of each stage, per shape of a micro-batch.

    >>> boundaries.of(x)[1]        # inputs of stage 1 for micro-batch x, as meta tensors

    A tensor that requires a gradient there gets one sent back.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = [_without_memory(stage) for stage in stages]
        self._known: dict[tuple[torch.Size, torch.dtype], Shapes] = {}

    def of(self, x: Tensor) -> Shapes:
        """Return each stage's inputs. StageError when a stage cannot compute on meta tensors, or not this shape."""
        key = x.shape, x.dtype
        if key not in self._known:
            self._known[key] = self._learn(torch.empty_like(x, device="meta"))
        return self._known[key]

    def _learn(self, x: Tensor) -> Shapes:
        found: Shapes = [(x,)]
        for number, stage in enumerate(self._stages[:-1]):
            given = tuple(t.detach().requires_grad_(t.requires_grad) for t in found[-1])
            what = f"computing stage {number} with shapes alone, for x [{', '.join(map(str, x.shape))}],"
            # Tensors created in the forward are on meta too; a tensor that a module keeps has to be a buffer.
            with reraise_as(StageError, what), torch.device("meta"), torch.enable_grad():
                output = tensors(stage(value(given)))
            found.append(tuple(_plain(t) for t in output))
        return found


def _plain(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta", requires_grad=tensor.requires_grad)


def _without_memory(stage: nn.Module) -> nn.Module:
    """Return a copy whose parameters and buffers are meta tensors."""
    memo: dict[int, Tensor] = {}
    for tensor in [*stage.parameters(), *stage.buffers()]:
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(stage, memo)
