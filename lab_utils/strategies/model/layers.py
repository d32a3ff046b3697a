"""Model parallelism by layers: the first layers on one rank, the next on another, one batch through all of them.

Dean et al. 2012, "Large Scale Distributed Deep Networks" (NeurIPS 25), section 3. Only one rank computes at a time, so
it gives memory and no speed: Huang et al. 2019, "GPipe" (arXiv 1811.06965), figure 2b. Micro-batches, which keep all
ranks busy, are chapter 03's `Pipeline`.

Letters:  B batch   T tokens   C channels   V vocabulary   R ranks
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.kernel_counter import KernelCounter, counting
from lab_utils.comm.recorder.recorder import phase
from lab_utils.gpt import cross_entropy
from lab_utils.strategies.clipping import clip
from lab_utils.strategies.pipeline.messages import checked
from lab_utils.strategies.pipeline.microbatch import Boundaries
from lab_utils.strategies.pipeline.stages import Stage, Unit, cut, stage_of, units_of
from lab_utils.strategies.pipeline.tied_weights import Shared

Model = nn.Module | Sequence[nn.Module]
Loss = Callable[[Tensor, Tensor], Tensor]  # (the last layer's output, y) -> mean over the samples, []


class ByLayers:
    """This rank's layers of a model, and steps of one batch through all ranks.

    >>> layers = ByLayers(model)                                       # on each rank
    >>> optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-3)
    >>> loss = layers.run(x, y)                                        # fills every gradient of this rank's layers
    >>> optimizer.step()

    model    the same on every rank, see `cut`. Only this rank's layers are kept. Freeze weights before
    costs    one per unit, the same on every rank, such as [cost.flops for cost in measured_costs(model, x, y)]
    group    its ranks hold the layers in order: mesh.group("pp") of a mesh. With replicas, loss_of gives this rank's
             part of the global batch's mean, and placement.sum_gradients(layers.stage, mesh) follows `run`

    A step sends 2·B·T·C elements across each boundary. It takes as long as all ranks compute, one after the other, and
    these messages: ranks are idle for 1 - 1/R of it, and for the messages' part, however the model is cut. What the cut
    decides is who holds how much, and how busy ranks are once there are micro-batches.

    ValueError when the model has fewer units than ranks, or several tensors go from one unit to the next.
    """

    def __init__(
        self,
        model: Model,
        *,
        costs: Sequence[float] | None = None,
        loss_of: Loss = cross_entropy,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self.group, self.loss_of = group or dist.group.WORLD, loss_of
        self.rank, ranks = self.group.rank(), self.group.size()
        if ranks > len(units_of(model)):
            units = ", ".join(_name(unit) for unit in units_of(model))
            raise ValueError(f"{ranks} ranks need a layer each, and there are {len(units_of(model))} to share: {units}")
        stages = cut(model, ranks, costs=costs)
        self.stage, self.first, self.last = stages[self.rank], self.rank == 0, self.rank == ranks - 1
        self._boundaries, holders, names = Boundaries(stages), {}, {}
        for rank, stage in enumerate(stages):
            for name, parameter in stage.named_parameters():
                holders.setdefault(parameter, []).append(rank)
                names.setdefault(parameter, name)
        self._names = {parameter: names[parameter] for parameter in self.stage.parameters()}
        self._shared = Shared(holders, self.group)  # tied weights

    # ------------------------------------------------------------------ a step
    def run(self, x: Tensor, y: Tensor) -> Tensor:
        """Run forward and backward of a batch x, y [B, T], the same on every rank; return its mean loss, [], on all."""
        self._check(x, y)
        self._shared.begin()
        given, out = self._forward(x, y)
        self._backward(given, out)
        self._shared.sum_gradients()
        return self._loss_on_all(out)

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Receive activations, compute, send on: return what this rank's layers took and gave, [B, T, C] each.

        The first rank takes x, and the last gives the loss.
        """
        given = x
        if not self.first:
            given = self._room(x)
            dist.recv(given.detach(), group=self.group, group_src=self.rank - 1)
        with phase("forward"):
            out = self.stage(given)
            if self.last:
                out = checked(self.loss_of(out, y))
        if not self.last:
            dist.send(out.detach().contiguous(), group=self.group, group_dst=self.rank + 1)
        return given, out

    def _backward(self, given: Tensor, out: Tensor) -> None:
        """Receive the gradient of what this rank gave, go back through its layers, send that of what it took."""
        gradient = None  # of the loss: 1
        if not self.last and out.requires_grad:
            gradient = torch.empty_like(out, memory_format=torch.contiguous_format)
            dist.recv(gradient, group=self.group, group_src=self.rank + 1)
        with phase("backward"):
            if out.requires_grad:
                out.backward(gradient)
        if given.requires_grad and not self.first:
            sent = torch.zeros_like(given) if given.grad is None else given.grad
            dist.send(sent.contiguous(), group=self.group, group_dst=self.rank - 1)

    def _loss_on_all(self, out: Tensor) -> Tensor:
        loss = out.detach().double() if self.last else torch.empty((), dtype=torch.float64, device=out.device)
        if not (self.first and self.last):
            with phase("loss to all"):
                dist.broadcast(loss, group=self.group, group_src=self.group.size() - 1)
        return loss

    def _check(self, x: Tensor, y: Tensor) -> None:
        """Raise on all ranks alike, so that none waits for another."""
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} samples and y {len(y)}: each sample needs its own y")
        for rank, like in enumerate(self._boundaries.of(x)):
            if len(like) > 1:
                raise ValueError(f"{len(like)} tensors go to rank {rank}, and here one can: Pipeline sends several")

    def _room(self, x: Tensor) -> Tensor:
        """Return memory for what this rank is given for a batch x: its shape, computed without numbers."""
        (like,) = self._boundaries.of(x)[self.rank]
        return torch.empty(like.shape, dtype=like.dtype, device=x.device, requires_grad=like.requires_grad)

    # ------------------------------------------------------------------ the model, as in Pipeline
    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the parameters of this rank's layers, each once."""
        return iter(self._names)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As in the whole model: the same names, a tied parameter under its first."""
        return ((name, parameter) for parameter, name in self._names.items())

    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Scale the gradients of all ranks to a total norm of at most max_norm; return the norm before, []."""
        with phase("clip"):
            return clip(self._names, max_norm, self.group, in_norm=self._shared.first_held_here)


# The counterpart of serial.step; that of serial.snapshot is pipeline.snapshot.
def step(layers: ByLayers, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Run one step on the batch x, y [B, T]; return the loss before the update, [], on every rank."""
    optimizer.zero_grad()
    loss = layers.run(x, y)
    with phase("update"):
        optimizer.step()
    return loss


# ---------------------------------------------------------------------- what a unit costs
class UnitCost(NamedTuple):
    """A unit's forward and backward on one batch: FLOPs counted, the same everywhere, and the median of its times."""

    name: str
    flops: int
    seconds: float


def measured_costs(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    runs: int = 5,
    loss_of: Loss = cross_entropy,
    group: dist.ProcessGroup | None = None,
) -> list[UnitCost]:
    """Return the cost of each unit of `cut`, the same on every rank: the first rank measures, the others receive.

    The loss counts to the last unit. Gradients of parameters stay as they are, and so does the random state.
    """
    if runs < 1:
        raise ValueError(f"runs={runs}: a median needs at least 1")
    group = group or dist.group.WORLD
    found = [_measured(model, x, y, runs, loss_of) if group.rank() == 0 else None]
    dist.broadcast_object_list(found, group=group, group_src=0)
    return found[0]


def _measured(model: Model, x: Tensor, y: Tensor, runs: int, loss_of: Loss) -> list[UnitCost]:
    costs, units = [], units_of(model)
    with torch.random.fork_rng():
        for unit in units:
            stage = stage_of(model, [unit])
            x = x.detach().requires_grad_(x.is_floating_point() and bool(costs))
            target = y if len(costs) == len(units) - 1 else None
            counter = KernelCounter()
            with counting(counter):
                out = _there_and_back(stage, x, target, loss_of)
            times = [_seconds(lambda s=stage, x=x, y=target: _there_and_back(s, x, y, loss_of)) for _ in range(runs)]
            costs.append(UnitCost(_name(unit), counter.take().flops, median(times)))
            x = out
    return costs


def _there_and_back(stage: Stage, x: Tensor, y: Tensor | None, loss_of: Loss) -> Tensor:
    """Run forward and backward, with a gradient of ones where y is None; return the output."""
    out = stage(x) if y is None else loss_of(stage(x), y)
    wanted = [tensor for tensor in (x, *stage.parameters()) if tensor.requires_grad]
    if out.requires_grad and wanted:
        torch.autograd.grad(out, wanted, torch.ones_like(out), allow_unused=True)
    return out


def _seconds(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s


def _name(unit: Unit) -> str:
    return " + ".join(name for name, _ in unit.modules)
