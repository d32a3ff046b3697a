"""`holdings(model, optimizer)`: which piece of which tensor this rank holds, in bytes, for ShardMap.

Works with plain modules, DDP, ZeroRedundancyOptimizer, FSDP2, DTensors, the stages of a pipeline, and strategies that
keep parameters in flat tensors of which each rank owns a piece.
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

from lab_utils.strategies.data.zero.checkpoint import Sharded
from lab_utils.strategies.data.zero.flat_parameters import FlatParameters
from lab_utils.widgets.gradient_flow.probe_buckets import fsdp_parameters, modules_by_name
from lab_utils.widgets.gradient_flow.probe_compare import key_of, local
from lab_utils.widgets.gradient_flow.record import Piece
from lab_utils.widgets.shard_map import words
from lab_utils.widgets.shard_map.probe_activations import SavedForBackward, saved_for_backward
from lab_utils.widgets.shard_map.record import Axis, Held, Kind, RankHoldings, Saved


class FlatPieces:
    """Lists what a rank holds of flat tensors: pieces as spans of flattened parameters, with whole shape (numel,).

    A span is not a box of the parameter, since it may begin and end in the middle of a row. Where a kind is in pieces,
    whole tensors of that kind are flattened too. The padding of a flat tensor, less than one element per rank, is left
    out; an optimizer's scalars (the step) are listed under the first parameter of their piece.

    names   of the model's parameters. ValueError if a flat tensor has a parameter that is not among them
    """

    def __init__(self, sharded: Sharded | None, names: Mapping[Tensor, str], prefix: str) -> None:
        self.flats: list[FlatParameters] = [] if sharded is None else list(sharded.flats)
        self.group = None if sharded is None else sharded.group
        self.prefix = prefix
        self.members = {p for flat in self.flats for p in flat.parameters}
        self.pieces = {flat.piece for flat in self.flats}
        strange = [name for flat in self.flats for name, p in _members(flat) if p not in names]
        if strange:
            raise ValueError(words.STRANGE_SHARDED.format(name=strange[0]))
        self.names = {flat: {name: names[p] for name, p in _members(flat)} for flat in self.flats}

    def parameters(self) -> Iterator[Held]:
        """Yield whole parameters where the piece shares the whole tensor's memory, otherwise the piece's spans."""
        for flat in self.flats:
            if _share_memory(flat.piece, flat.whole):
                yield from self._wholes("parameter", flat, flat.whole, flattened=False)
            else:
                yield from self._spans("parameter", flat, flat.piece.detach())

    def gradients(self) -> Iterator[Held]:
        """Yield the gradient of the piece, and whole ones if present, of which only the piece is reduced."""
        for flat in self.flats:
            reduced, room = flat.piece.grad, flat.bucket.flat
            apart = reduced is not None and not _share_memory(reduced, room)
            if apart:
                yield from self._spans("gradient", flat, reduced)
            if room.untyped_storage().size():
                yield from self._wholes("gradient", flat, room, flattened=apart, compare=False)
            for name, parameter in _members(flat):
                if parameter.grad is not None and not _share_memory(parameter.grad, room):
                    yield self._whole("gradient", self.names[flat][name], parameter.grad, flattened=apart)

    def states(self, optimizer: torch.optim.Optimizer) -> Iterator[Held]:
        for flat in self.flats:
            first = next((name for name, *_ in flat.spans(self.group)), flat.names[0])
            for slot, value in optimizer.state.get(flat.piece, {}).items():
                if isinstance(value, Tensor) and value.shape == flat.piece.shape:
                    yield from self._spans("optimizer state", flat, value, slot)
                elif isinstance(value, Tensor):
                    yield self._whole("optimizer state", self.names[flat][first], value, slot=slot)

    def gathered(self) -> Iterator[Held]:
        """Yield whole parameters that are gathered beside the pieces."""
        for flat in self.flats:
            if flat.whole.untyped_storage().size() and not _share_memory(flat.piece, flat.whole):
                yield from self._wholes("gathered", flat, flat.whole, flattened=False, compare=False)

    def _spans(self, kind: Kind, flat: FlatParameters, tensor: Tensor, slot: str = "") -> Iterator[Held]:
        """Yield the part of each parameter in this rank's piece, including empty parts."""
        found = {name: (first, where) for name, first, _, where in flat.spans(self.group)}
        for name, shape in zip(flat.names, flat.shapes, strict=True):
            first, where = found.get(name, (0, slice(0, 0)))
            yield self._held(kind, self.names[flat][name], tensor[where], (shape.numel(),), (first,), slot)

    def _wholes(
        self, kind: Kind, flat: FlatParameters, whole: Tensor, flattened: bool, compare: bool = True
    ) -> Iterator[Held]:
        """Yield all parameters of a flat tensor, or their gradients."""
        at = 0
        for name, shape in zip(flat.names, flat.shapes, strict=True):
            part = whole.detach()[at : at + shape.numel()].view(shape)
            yield self._whole(kind, self.names[flat][name], part, flattened, compare=compare)
            at += shape.numel()

    def _whole(
        self, kind: Kind, name: str, tensor: Tensor, flattened: bool = False, slot: str = "", compare: bool = True
    ) -> Held:
        tensor = tensor.flatten() if flattened else tensor
        return self._held(kind, name, tensor, tuple(tensor.shape), (0,) * tensor.dim(), slot, compare)

    def _held(
        self, kind: Kind, name: str, tensor: Tensor, whole: tuple[int, ...], offset: tuple[int, ...], slot: str = "",
        compare: bool = True,
    ) -> Held:  # fmt: skip
        content = _checksum(tensor) if compare else None
        dtype, piece = str(tensor.dtype).removeprefix("torch."), Piece(offset, tuple(tensor.shape))
        return Held(kind, self.prefix + name, whole, piece, dtype, tensor.nbytes, slot, content)


def _members(flat: FlatParameters) -> Iterator[tuple[str, nn.Parameter]]:
    return zip(flat.names, flat.parameters, strict=True)


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage()._cdata == other.untyped_storage()._cdata


__all__ = ["SavedForBackward", "holdings", "saved_for_backward"]

Place = tuple[tuple[int, ...], tuple[int, ...]]  # of a plain tensor: shape of the whole, offset of this piece


def holdings(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    activations: SavedForBackward | Mapping[str, int] | None = None,
    places: Mapping[str, Place] | None = None,
    sharded: Sharded | None = None,
    prefix: str = "",
) -> RankHoldings:
    """Return the parameters, gradients, optimizer state, buffers and activations on this rank. No communication.

    >>> with saved_for_backward(model) as saved:
    ...     loss = model(x).mean()
    >>> loss.backward(); optimizer.step()
    >>> return holdings(model, optimizer, activations=saved)      # to the notebook: ShardMap(ranks.run(...))

    activations   the result of `saved_for_backward`, or bytes by name
    places        for plain tensors that are pieces: parameter name → (shape of the whole, offset of this piece), also
                  used for its gradient and optimizer state
    sharded       the strategy that keeps the model's parameters in flat tensors (`.flats`, `.group`): ZeRO's stages.
                  Their pieces are listed as spans of flattened parameters
    prefix        prepended to names where ranks hold different models ("stage 1." in a pipeline)

    ValueError for a place whose name is not a parameter or into which this rank's piece does not fit.
    """
    with torch.no_grad(), _disable_current_modes():  # not recorded: not the program's kernels
        looked = _Look(model, sharded, dict(places or {}), prefix)
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
    """Lists a model's tensors; one that appears under several names counts once, under the first."""

    def __init__(self, model: nn.Module, flat: Sharded | None, places: dict[str, Place], prefix: str) -> None:
        self.model, self.places, self.prefix = model, places, prefix
        self.sharded = [parameter for group in fsdp_parameters(model) for parameter in group]
        instead = {id(p._unsharded_param): p.sharded_param for p in self.sharded if hasattr(p, "_unsharded_param")}
        self.named: dict[Tensor, str] = {}
        for name, parameter in _named(model, "_parameters"):
            self.named.setdefault(instead.get(id(parameter), parameter), name)
        self._check_places()
        self.flats = FlatPieces(flat, self.named, prefix)
        self.others = {p: name for p, name in self.named.items() if p not in self.flats.members}

    def _check_places(self) -> None:
        known = {name: local(parameter) for parameter, name in self.named.items()}
        for name, (whole, offset) in self.places.items():
            if name not in known:
                raise ValueError(words.STRANGE_PLACE.format(name=name, known=", ".join(known)))
            shape = tuple(known[name].shape)
            ends = [start + size for start, size in zip(offset, shape, strict=False)]
            fits = len(whole) == len(offset) == len(shape) and min(offset, default=0) >= 0
            if not fits or any(end > size for end, size in zip(ends, whole, strict=True)):
                here = {"shape": list(shape), "offset": list(offset), "whole": list(whole)}
                raise ValueError(words.NO_FIT.format(name=name, **here))

    def parameters(self) -> Iterator[Held]:
        found = [self._held("parameter", name, parameter) for parameter, name in self.others.items()]
        places = {self.prefix + name: at for at, name in enumerate(self.named.values())}
        yield from sorted([*found, *self.flats.parameters()], key=lambda held: places[held.name])

    def gradients(self) -> Iterator[Held]:
        for parameter, name in self.others.items():
            if parameter.grad is not None:
                yield self._held("gradient", name, parameter.grad)
        yield from self.flats.gradients()
        for parameter in self.sharded:  # unsharded gradients of backwards that did not reduce
            gathered = getattr(parameter, "_unsharded_param", None)  # FSDP creates it in the first forward
            for gradient in (parameter.unsharded_accumulated_grad, None if gathered is None else gathered.grad):
                if gradient is not None:
                    yield self._held("gradient", self.named[parameter.sharded_param], gradient)

    def states(self, optimizer: torch.optim.Optimizer | None) -> Iterator[Held]:
        if optimizer is None:
            return
        inner = getattr(optimizer, "optim", optimizer)  # ZeroRedundancyOptimizer wraps one with this rank's parameters
        yield from self.flats.states(inner)
        plain = [(parameter, state) for parameter, state in inner.state.items() if parameter not in self.flats.pieces]
        for number, (parameter, state) in enumerate(plain):
            name = self.named.get(parameter, f"not of the model, {number}")
            for slot, value in state.items():
                if isinstance(value, Tensor):
                    yield self._held("optimizer state", name, value, slot, like=parameter)

    def buffers(self) -> Iterator[Held]:
        """Yield module buffers, and the buckets of every DDP whose gradients are not views into them."""
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
        """Yield whole parameters gathered and not yet freed: those of FSDP's root, after a forward."""
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
        content = _checksum(own) if compare and not _is_partial(tensor) else None
        dtype = str(own.dtype).removeprefix("torch.")
        piece = Piece(offset, tuple(own.shape))
        return Held(kind, self.prefix + name, whole, piece, dtype, own.nbytes, slot, content)


def _named(module: nn.Module, what: str) -> Iterator[tuple[str, Tensor]]:
    """Yield its "_parameters" or "_buffers" by name."""
    for prefix, inner in modules_by_name(module):
        yield from ((prefix + name, tensor) for name, tensor in getattr(inner, what).items() if tensor is not None)


def _mesh(parameters: Iterable[Tensor]) -> tuple[Axis, ...]:
    """Return this rank's coordinates on the parameters' root mesh, if it has names and spans all ranks."""
    for parameter in parameters:
        mesh = parameter.device_mesh._get_root_mesh() if isinstance(parameter, DTensor) else None
        if mesh is not None and mesh.mesh_dim_names and mesh.size() == dist.get_world_size():
            return tuple(map(Axis, mesh.mesh_dim_names, mesh.get_coordinate(), mesh.shape))
    return ()


def _is_partial(tensor: Tensor) -> bool:
    """Return whether ranks have yet to reduce it, so that different values are correct."""
    return isinstance(tensor, DTensor) and any(placement.is_partial() for placement in tensor.placements)


def _checksum(tensor: Tensor) -> int:
    """Return the CRC-32 of its bits, 0 for an empty tensor."""
    flat = tensor.contiguous().cpu().reshape(-1)
    return zlib.crc32(flat.view(torch.uint8).numpy()) if flat.numel() else 0
