"""Where each parameter lies on the mesh: noted on the parameter, asked by gradients, clipping and checkpoints.

The loss of a rank is its part of the global batch's mean: the sum over its own targets / the number of all targets.
Gradients are therefore summed, never averaged, over the axes on which the batch is cut. So experts, which meet the
tokens of all ranks of ep, need no factor: their gradient is summed over edp, the others' over dp and cp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies import clipping
from lab_utils.strategies.mesh import Mesh

BATCH_AXES = ("dp", "cp")  # on which the global batch is cut, into sequences and into parts of sequences


@dataclass(frozen=True, slots=True)
class Shard:
    """A dim of a parameter, cut into pieces along an axis of the mesh.

    axis    "tp", "ep"
    dim     the dim that is cut
    parts   sizes of what lies along the dim in the whole parameter, each cut by itself: (96,), or (96, 96, 96) where
            query, key and value are one matrix
    pieces  how many there are; by default one per rank. Fewer, such as KV heads on more ranks, lie on several
            neighbouring ranks each: rank r has piece ⌊r · pieces / ranks⌋
    """

    axis: str
    dim: int
    parts: tuple[int, ...]
    pieces: int | None = None

    @property
    def whole(self) -> int:
        """The size of the dim in the whole parameter."""
        return sum(self.parts)

    def piece(self, mesh: Mesh, at: Mapping[str, int]) -> int:
        """Return which piece the rank at these coordinates has."""
        ranks = mesh.degrees[self.axis]
        return at[self.axis] * (self.pieces or ranks) // ranks

    def is_first(self, mesh: Mesh, at: Mapping[str, int]) -> bool:
        """Return whether the rank is the first on the axis that has its piece."""
        before = {**at, self.axis: at[self.axis] - 1}
        return at[self.axis] == 0 or self.piece(mesh, before) != self.piece(mesh, at)

    def index(self, mesh: Mesh, at: Mapping[str, int]) -> Tensor:
        """Return where in the whole dim the rank's elements lie: int64, ascending."""
        pieces, piece = self.pieces or mesh.degrees[self.axis], self.piece(mesh, at)
        found, first = [], 0
        for size in self.parts:
            found.append(torch.arange(first + size * piece // pieces, first + size * (piece + 1) // pieces))
            first += size
        return torch.cat(found)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one parameter lies on the mesh; without shards every rank of a stage holds all of it.

    shards    the dims that are cut, each along an axis of its own
    partial   the axes over which backward leaves its gradient in parts, so that their sum is the gradient
    """

    shards: tuple[Shard, ...] = ()
    partial: tuple[str, ...] = BATCH_AXES


def place(parameter: nn.Parameter, *shards: Shard, partial: tuple[str, ...] = BATCH_AXES) -> nn.Parameter:
    """Note where the parameter lies; return it."""
    parameter.placement = Placement(shards, partial)
    return parameter


def placement(parameter: nn.Parameter) -> Placement:
    """Return where the parameter lies: replicated, its gradient partial over the batch's axes, unless noted."""
    return getattr(parameter, "placement", Placement())


@torch.no_grad()
def sum_gradients(model: nn.Module, mesh: Mesh) -> None:
    """Sum each gradient over the axes on which it is partial: once per step, after the last backward.

    Where several ranks share a piece, such as a KV head, the gradient is first summed over these: each has the part
    that comes from what it computed with the piece. A parameter without a gradient takes part with zeros, since the
    other ranks wait in the same sums.
    """
    for groups, parameters in _by_groups(model, mesh):
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        flat = torch._utils._flatten_dense_tensors([p.grad for p in parameters])
        for group in groups:
            dist.all_reduce(flat, group=group)
        summed = torch._utils._unflatten_dense_tensors(flat, [p.grad for p in parameters])
        torch._foreach_copy_([p.grad for p in parameters], list(summed))


def _by_groups(model: nn.Module, mesh: Mesh) -> Iterator[tuple[list[dist.ProcessGroup], list[nn.Parameter]]]:
    """Yield the parameters that are summed in one message, with the groups over which they are, one after the other."""
    found: dict[tuple, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        placed = placement(parameter)
        axes = tuple(axis for axis in placed.partial if mesh.degrees[axis] > 1)
        shared = tuple((s.axis, s.pieces) for s in placed.shards if s.pieces and s.pieces < mesh.degrees[s.axis])
        if (axes or shared) and parameter.requires_grad:
            found.setdefault((axes, shared, parameter.dtype), []).append(parameter)
    for (axes, shared, _), parameters in found.items():
        over = [mesh.group(*axes)] if axes else []
        yield [*(mesh.group_sharing(axis, pieces) for axis, pieces in shared), *over], parameters


@torch.no_grad()
def whole(tensor: Tensor, placed: Placement, mesh: Mesh) -> Tensor:
    """Return the whole of a tensor that lies as `placed`, such as a parameter or its gradient; all ranks call it."""
    at = mesh.mine
    for shard in placed.shards:
        shape = list(tensor.shape)
        shape[shard.dim] = shard.whole
        full = tensor.new_zeros(shape)
        if shard.is_first(mesh, at):
            full.index_copy_(shard.dim, shard.index(mesh, at).to(tensor.device), tensor)
        dist.all_reduce(full, group=mesh.group(shard.axis))
        tensor = full
    return tensor


def own(tensor: Tensor, placed: Placement, mesh: Mesh) -> Tensor:
    """Return this rank's part of a whole tensor, a copy. No rank waits for another."""
    at = mesh.mine
    for shard in placed.shards:
        tensor = tensor.index_select(shard.dim, shard.index(mesh, at).to(tensor.device))
    return tensor.detach().clone()


def state_dict(model: nn.Module, mesh: Mesh) -> dict[str, Tensor]:
    """Return the state dict of the unsplit model; all ranks call it, and each has it."""
    placed = {name: placement(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    state = model.state_dict()
    return {name: whole(tensor, placed.get(name, Placement()), mesh).clone() for name, tensor in state.items()}


def load_state_dict(model: nn.Module, state: Mapping[str, Tensor], mesh: Mesh) -> None:
    """Load a state dict of the unsplit model: each rank takes its parts."""
    placed = {name: placement(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    model.load_state_dict({name: own(tensor, placed.get(name, Placement()), mesh) for name, tensor in state.items()})


def snapshot(model: nn.Module, loss: Tensor, mesh: Mesh) -> dict:
    """Return what parity compares with serial, whole: loss, gradients and parameters by name; all ranks call it.

    loss   this rank's part of the global batch's mean
    """
    total = loss.detach().clone()
    dist.all_reduce(total, group=mesh.group(*BATCH_AXES))
    gradients, parameters = {}, {}
    for name, parameter in model.named_parameters():
        placed = placement(parameter)
        parameters[name] = whole(parameter.detach(), placed, mesh).clone()
        if parameter.grad is not None:
            gradients[name] = whole(parameter.grad, placed, mesh).clone()
    return {"loss": total.item(), "gradients": gradients, "parameters": parameters}


def clip(model: nn.Module, max_norm: float, mesh: Mesh) -> Tensor:
    """Scale the gradients of all ranks to a total norm of at most max_norm; return the norm before, [], float64.

    As torch.nn.utils.clip_grad_norm_ on the unsplit model, after `sum_gradients`: each element counts once, whether one
    rank holds it or all, and one all-reduce of one number makes the norm, over the whole world.
    """
    at = mesh.mine
    once = [p for p in model.parameters() if _counts_here(placement(p), mesh, at)]
    return clipping.clip(model.parameters(), max_norm, in_norm=once)


def _counts_here(placed: Placement, mesh: Mesh, at: Mapping[str, int]) -> bool:
    """Return whether this rank is the first of those that hold the same elements."""
    cut = {shard.axis: shard for shard in placed.shards}
    if not all(shard.is_first(mesh, at) for shard in cut.values()):
        return False
    rest = ("edp" if "ep" in cut else "dp", *(() if "ep" in cut else ("cp",)), "tp")
    return all(at[axis] == 0 for axis in rest if axis not in cut)
