"""`holdings(model, optimizer)`: which piece of which tensor this rank holds, in bytes. For ShardMap in the notebook.

Works with plain modules, DDP, ZeroRedundancyOptimizer, FSDP2, DTensors, the stages of a pipeline, and with strategies
that keep parameters in flat tensors of which a rank owns a piece.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import _disable_current_modes

from lab_utils.comm.flat_pieces import FlatPieces, Sharded
from lab_utils.comm.gradient_buckets import fsdp_parameters
from lab_utils.comm.gradient_compare import key_of, local
from lab_utils.comm.saved import SavedForBackward, modules_by_name, saved_for_backward
from lab_utils.timeline.gradients import Piece
from lab_utils.timeline.holdings import Axis, Held, RankHoldings, Saved

__all__ = ["SavedForBackward", "holdings", "saved_for_backward"]

Place = tuple[tuple[int, ...], tuple[int, ...]]  # of a plain tensor: shape of the whole, offset of this piece in it


def holdings(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    activations: SavedForBackward | Mapping[str, int] | None = None,
    places: Mapping[str, Place] | None = None,
    sharded: Sharded | None = None,
    prefix: str = "",
    compare: bool = True,
) -> RankHoldings:
    """What this rank holds now of parameters, gradients, optimizer state, buffers and activations. No communication.

    >>> with saved_for_backward(model) as saved:
    ...     loss = model(x).mean()
    >>> loss.backward(); optimizer.step()
    >>> return holdings(model, optimizer, activations=saved)      # to the notebook: ShardMap(ranks.run(...))

    activations   what `saved_for_backward` saw, or bytes by name
    places        where plain tensors are pieces: name of the parameter → (shape of the whole, offset of this piece).
                  Its gradient and its optimizer state lie alike
    sharded       the strategy that keeps the model's parameters in flat tensors (`.flats`, `.group`): ZeRO's stages.
                  What lies in pieces is told as spans of flattened parameters
    prefix        what to put before the names, where ranks hold unlike models ("stage 1." in a pipeline)
    compare       take checksums, so that pieces that ought to be equal on several ranks are compared

    ValueError for a place whose name is no parameter, or that this rank's piece does not fit into.
    """
    with torch.no_grad(), _disable_current_modes():  # no kernel of the program's
        looked = _Look(model, sharded, dict(places or {}), prefix, compare)
        held = [*looked.parameters(), *looked.gradients(), *looked.states(optimizer), *looked.buffers()]
        held += looked.gathered()
    rank = dist.get_rank() if dist.is_initialized() else 0
    return RankHoldings(rank, tuple(held), tuple(_saved(activations, prefix)), _mesh(looked.named))


def _saved(activations: SavedForBackward | Mapping[str, int] | None, prefix: str) -> Iterator[Saved]:
    if isinstance(activations, SavedForBackward):
        yield from (Saved(prefix + saved.name, saved.tensors, saved.bytes) for saved in activations.by_module)
    elif activations is not None:
        yield from (Saved(prefix + name, 1, int(size)) for name, size in activations.items())


class _Look:
    """One look at a model; tensors that appear under several names are held once, under the first."""

    def __init__(
        self, model: nn.Module, flat: Sharded | None, places: dict[str, Place], prefix: str, compare: bool
    ) -> None:
        self.model, self.places, self.prefix, self.compare = model, places, prefix, compare
        self.sharded = [parameter for group in fsdp_parameters(model) for parameter in group]
        instead = {id(p._unsharded_param): p.sharded_param for p in self.sharded if hasattr(p, "_unsharded_param")}
        self.named: dict[Tensor, str] = {}
        for name, parameter in _named(model, "_parameters"):
            self.named.setdefault(instead.get(id(parameter), parameter), name)
        self._check_places()
        self.flats = FlatPieces(flat, self.named, prefix, _checksum if compare else _no_checksum)
        self.others = {p: name for p, name in self.named.items() if p not in self.flats.members}

    def _check_places(self) -> None:
        known = {name: local(parameter) for parameter, name in self.named.items()}
        for name, (whole, offset) in self.places.items():
            if name not in known:
                raise ValueError(f"places name {name!r}, which is no parameter; those are {', '.join(known)}")
            shape = tuple(known[name].shape)
            ends = [start + size for start, size in zip(offset, shape, strict=False)]
            fits = len(whole) == len(offset) == len(shape) and min(offset, default=0) >= 0
            if not fits or any(end > size for end, size in zip(ends, whole, strict=True)):
                raise ValueError(
                    f"{name} has shape {list(shape)} here, which at offset {list(offset)} does not fit into a whole of "
                    f"{list(whole)}"
                )

    def parameters(self) -> Iterator[Held]:
        found = [self._held("parameter", name, parameter) for parameter, name in self.others.items()]
        places = {self.prefix + name: at for at, name in enumerate(self.named.values())}
        yield from sorted([*found, *self.flats.parameters()], key=lambda held: places[held.name])

    def gradients(self) -> Iterator[Held]:
        for parameter, name in self.others.items():
            if parameter.grad is not None:
                yield self._held("gradient", name, parameter.grad)
        yield from self.flats.gradients()
        for parameter in self.sharded:  # whole ones, of backwards that did not reduce
            gathered = getattr(parameter, "_unsharded_param", None)  # FSDP makes it in the first forward
            for gradient in (parameter.unsharded_accumulated_grad, None if gathered is None else gathered.grad):
                if gradient is not None:
                    yield self._held("gradient", self.named[parameter.sharded_param], gradient)

    def states(self, optimizer: torch.optim.Optimizer | None) -> Iterator[Held]:
        if optimizer is None:
            return
        inner = getattr(optimizer, "optim", optimizer)  # ZeroRedundancyOptimizer's, which has this rank's parameters
        yield from self.flats.states(inner)
        plain = [(parameter, state) for parameter, state in inner.state.items() if parameter not in self.flats.pieces]
        for number, (parameter, state) in enumerate(plain):
            name = self.named.get(parameter, f"not of the model, {number}")
            for slot, value in state.items():
                if isinstance(value, Tensor):
                    yield self._held("optimizer state", name, value, slot, like=parameter)

    def buffers(self) -> Iterator[Held]:
        """The modules' own, and the buckets of every DDP that has them beside the gradients."""
        seen: set[int] = set()
        for name, buffer in _named(self.model, "_buffers"):
            if id(buffer) not in seen:
                seen.add(id(buffer))
                yield self._held("buffer", name, buffer)
        for wrapper in self.model.modules():
            if isinstance(wrapper, DistributedDataParallel) and not wrapper.gradient_as_bucket_view:
                for number, bucket in enumerate(wrapper.reducer._get_zeros_like_grad_buckets()):
                    yield self._held("buffer", f"DDP's bucket {number}", bucket.buffer(), compare=False)

    def gathered(self) -> Iterator[Held]:
        """Whole parameters that were brought together and not let go: the root's of FSDP, after a forward."""
        yield from self.flats.gathered()
        for parameter in self.sharded:
            name, shape = self.named[parameter.sharded_param], tuple(parameter.sharded_param.shape)
            size = sum(output.untyped_storage().nbytes() for output in parameter.all_gather_outputs)
            if size:
                dtype = str(parameter.all_gather_outputs[0].dtype).removeprefix("torch.")
                piece = Piece((0,) * len(shape), shape)
                yield Held("gathered", self.prefix + name, shape, piece, dtype, size)

    def _held(
        self, kind: str, name: str, tensor: Tensor, slot: str = "", like: Tensor | None = None, compare: bool = True
    ) -> Held:
        own, key = local(tensor), key_of(name, tensor)
        whole, offset = tuple(tensor.shape), key.offset
        if name in self.places and (like is None or own.shape == local(like).shape):
            whole, offset = (tuple(numbers) for numbers in self.places[name])
        content = _checksum(own) if self.compare and compare and not _is_partial(tensor) else None
        dtype = str(own.dtype).removeprefix("torch.")
        piece = Piece(offset, tuple(own.shape))
        return Held(kind, self.prefix + name, whole, piece, dtype, own.nbytes, slot, content)


def _named(module: nn.Module, what: str) -> Iterator[tuple[str, Tensor]]:
    """Its "_parameters" or "_buffers" by name."""
    for prefix, inner in modules_by_name(module):
        yield from ((prefix + name, tensor) for name, tensor in getattr(inner, what).items() if tensor is not None)


def _mesh(parameters: Iterable[Tensor]) -> tuple[Axis, ...]:
    """Where this rank is on the mesh that the parameters lie on: the whole one, if it has names."""
    for parameter in parameters:
        mesh = parameter.device_mesh._get_root_mesh() if isinstance(parameter, DTensor) else None
        if mesh is not None and mesh.mesh_dim_names and mesh.size() == dist.get_world_size():
            return tuple(map(Axis, mesh.mesh_dim_names, mesh.get_coordinate(), mesh.shape))
    return ()


def _is_partial(tensor: Tensor) -> bool:
    """Whether ranks still have to add it up, so that unlike numbers are right."""
    return isinstance(tensor, DTensor) and any(placement.is_partial() for placement in tensor.placements)


def _no_checksum(tensor: Tensor) -> None:
    """Where nobody is to compare."""


def _checksum(tensor: Tensor) -> int:
    """Of its bits: equal tensors have equal ones, others hardly ever."""
    flat = tensor.contiguous().cpu().reshape(-1)
    return zlib.crc32(flat.view(torch.uint8).numpy()) if flat.numel() else 0
