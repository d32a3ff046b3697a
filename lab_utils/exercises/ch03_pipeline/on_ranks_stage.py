"""Arguments of the reader's functions for one stage on a rank: instrumented forwards and backwards, and messages.

Loaded on the ranks only.
"""

from __future__ import annotations

import weakref

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.exercises.ch03_pipeline import words
from lab_utils.exercises.ch03_pipeline.words import Weights as say
from lab_utils.gpt import cross_entropy
from lab_utils.strategies.pipeline.executed_order import label


class Kept:
    """Activations that a forward keeps for its backward."""

    def __init__(self, number: int, x: Tensor, output: Tensor) -> None:
        self.number, self.x, self.output = number, x, output


class Wire:
    """Messages to the neighbours, tagged by micro-batch and direction; sends do not block."""

    def __init__(self) -> None:
        self.rank, self.last = dist.get_rank(), dist.get_world_size() - 1
        self._sent: list[tuple[dist.Work, Tensor]] = []

    def send(self, tensor: Tensor, to: int, number: int) -> None:
        tensor = tensor.detach().contiguous().clone()
        self._sent.append((dist.isend(tensor, to, tag=2 * number + (to < self.rank)), tensor))

    def receive(self, shape: tuple[int, ...], source: int, number: int) -> Tensor:
        tensor = torch.empty(shape, dtype=torch.float64)
        dist.recv(tensor, source, tag=2 * number + (source > self.rank))
        return tensor

    def finish(self) -> None:
        for work, _ in self._sent:
            work.wait()


class Running(Wire):
    """`forward(i)` returns the activations to keep, `backward(i, kept)` takes them; both communicate and are recorded.

    used   (micro-batch, micro-batch of the activations passed to its backward, or the type of anything else)
    ran    the ops
    most   peak of micro-batches whose activations were held between two ops
    """

    def __init__(self, stage: nn.Module, parts: list[tuple[Tensor, Tensor]], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.stage, self.parts, self.shape = stage, parts, shape
        self.used: list[tuple[int, int | str]] = []
        self.ran: list[tuple[str, int]] = []
        self.most = 0
        self._alive: weakref.WeakSet[Kept] = weakref.WeakSet()

    def forward(self, number: int) -> Kept:
        self._begin("F", number)
        x, y = self.parts[number]
        if self.rank:
            x = self.receive(self.shape, self.rank - 1, number).requires_grad_()
        output = self.stage(x)
        if self.rank == self.last:
            output = cross_entropy(output, y) / len(self.parts)
        else:
            self.send(output, self.rank + 1, number)
        kept = Kept(number, x, output)
        self._alive.add(kept)
        return kept

    def backward(self, number: int, kept: Kept) -> None:
        self._begin("B", number)
        gradient = None if self.rank == self.last else self.receive(self.shape, self.rank + 1, number)
        if isinstance(kept, Kept):
            self.used.append((number, kept.number))
            back = self._run_back(kept, gradient)
        else:
            self.used.append((number, type(kept).__name__))
            back = torch.zeros(self.shape, dtype=torch.float64)  # so that the other ranks can continue
        if self.rank:
            self.send(back, self.rank - 1, number)

    def _run_back(self, kept: Kept, gradient: Tensor | None) -> Tensor | None:
        if self.rank:
            kept.x.grad = None
        kept.output.backward(gradient, retain_graph=True)  # using it twice is a finding, not an error
        return kept.x.grad

    def _begin(self, kind: str, number: int) -> None:
        self.most = max(self.most, len(self._alive))
        self.ran.append((kind, number))


class Chain(Wire):
    """A chain of linear layers y = x Wᵀ, one per rank; the loss is half the mean square of the last output.

    inputs, inputs_grad, outputs_grad   [micro-batch] tensors [b, C] of this rank's layer in serial training
    left                                gradients that the reader passed to `leave`
    """

    def __init__(self, microbatches: int, samples: int, channels: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        sizes = self.last + 1, channels, channels
        self._weights = torch.randn(sizes, generator=draw, dtype=torch.float64) / channels**0.5
        x = torch.randn(microbatches, samples, channels, generator=draw, dtype=torch.float64)
        values = [x.requires_grad_()]
        for weight in self._weights:
            values.append(values[-1] @ weight.T)
        loss = values[-1].square().mean() / 2
        grads = torch.autograd.grad(loss, values)
        self.inputs, self.inputs_grad = values[self.rank].detach().unbind(), grads[self.rank].unbind()
        self.outputs_grad = grads[self.rank + 1].unbind()
        self.left: dict[int, Tensor] = {}

    def layer(self) -> nn.Linear:
        weight = self._weights[self.rank]
        layer = nn.Linear(*weight.shape, bias=False, dtype=weight.dtype)
        layer.weight.data.copy_(weight)
        layer.weight.grad = torch.zeros_like(weight)
        layer.weight.requires_grad_(False)  # the reader computes its gradient
        return layer

    def arrive(self, number: int) -> Tensor:
        """Receive the gradient of the layer's output, [b, C]."""
        if self.rank == self.last:
            return self.outputs_grad[number].clone()
        return self.receive(self.outputs_grad[number].shape, self.rank + 1, number)

    def leave(self, number: int, gradient: Tensor) -> None:
        """Record the gradient of the layer's input and send it to the previous rank."""
        wanted, got = self.inputs[number].shape, getattr(gradient, "shape", None)
        if got != wanted:
            what = type(gradient).__name__ if got is None else say.leave_shape.format(shape=list(got))
            raise ValueError(say.leave.format(number=number, what=what, shape=list(wanted)))
        self.left[number] = gradient.detach().clone()
        if self.rank:
            self.send(gradient, self.rank - 1, number)


class Passes:
    """`forward(i, x)` and `backward(i, gradient)` of this rank's stage, which leave the messages to the reader.

    most   peak of micro-batches between their forward and their backward
    """

    def __init__(self, stage: nn.Module, parts: list[tuple[Tensor, Tensor]], shape: tuple[int, ...]) -> None:
        self.rank, self.last = dist.get_rank(), dist.get_world_size() - 1
        self.stage, self.parts, self.shape, self.most = stage, parts, shape, 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._ran: set[int] = set()

    def forward(self, number: int, x: Tensor | None = None) -> Tensor:
        """Return the stage's output, [b, T, C]; on the last rank its part of the loss, []. Rank 0 has its own x."""
        if number in self._ran:
            raise ValueError(words.Loop.again.format(number=number))
        if number not in range(len(self.parts)):
            raise ValueError(words.Loop.no_microbatch.format(number=number, m=len(self.parts)))
        self._ran.add(number)
        given, y = self.parts[number]
        if self.rank:
            given = self._checked("forward", number, x).requires_grad_()
        with phase(label("F", self.rank, number)):
            output = self.stage(given)
            if self.rank == self.last:
                output = cross_entropy(output, y) / len(self.parts)
        self._kept[number] = given, output
        self.most = max(self.most, len(self._kept))
        return output.detach()

    def backward(self, number: int, gradient: Tensor | None = None) -> Tensor | None:
        """Return the gradient of the stage's input, [b, T, C], None on rank 0. The last rank begins at its loss."""
        if number not in self._kept:
            raise ValueError(words.Loop.no_forward.format(number=number))
        given, output = self._kept.pop(number)
        arrived = None if self.rank == self.last else self._checked("backward", number, gradient)
        with phase(label("BW", self.rank, number)):
            output.backward(arrived)
        return given.grad if self.rank else None

    def _checked(self, name: str, number: int, tensor: Tensor | None) -> Tensor:
        """Return a copy: the reader may receive the next message into the same tensor."""
        if getattr(tensor, "shape", None) != self.shape:
            what = type(tensor).__name__ if not isinstance(tensor, Tensor) else f"a tensor {list(tensor.shape)}"
            wanted = {"name": name, "number": number, "what": what, "shape": list(self.shape)}
            raise ValueError(words.Loop.strange.format(**wanted))
        return tensor.detach().clone()
