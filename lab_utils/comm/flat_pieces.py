"""What a rank holds of parameters that lie in flat tensors, of which it owns a piece: for `holdings(…, sharded=…)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.timeline.gradients import Piece
from lab_utils.timeline.holdings import Held, Kind

Checksum = Callable[[Tensor], int | None]


class Room(Protocol):
    """Where gradients of a flat tensor's parameters lie before they are reduced: [numel], at times without memory."""

    flat: Tensor


class FlatTensor(Protocol):
    """Parameters one after the other.

    names        of the parameters, first to last
    parameters   the model's own, which are views into `whole` or empty
    shapes       of the parameters, when they are whole
    whole        [numel], maybe padded at its end, and with no memory while nobody needs it
    piece        [numel / ranks], what this rank's optimizer updates; a view into `whole`, or memory of its own
    bucket       room for the gradients
    spans        what of which parameter lies in this rank's piece: (name, first element, end, where in the piece)
    """

    names: Sequence[str]
    parameters: Sequence[nn.Parameter]
    shapes: Sequence[torch.Size]
    whole: Tensor
    piece: nn.Parameter
    bucket: Room

    def spans(self, group: dist.ProcessGroup) -> Iterator[tuple[str, int, int, slice]]: ...


class Sharded(Protocol):
    """A strategy that keeps parameters in flat tensors: the lab's ZeRO, or one like it."""

    flats: Sequence[FlatTensor]
    group: dist.ProcessGroup


class FlatPieces:
    """Looks at flat tensors. What lies in pieces is told as spans of flattened parameters: whole (numel,).

    A span is no box of the parameter, since it may begin and end in the middle of a row. Where a kind lies in pieces,
    whole tensors of that kind are flattened too. The padding of a flat tensor, less than an element a rank, is left
    out; an optimizer's scalars (the step), which are of a piece, are told under the piece's first parameter.

    names   of the model's parameters. ValueError where a flat tensor has a parameter that is none of them
    """

    def __init__(self, sharded: Sharded | None, names: Mapping[Tensor, str], prefix: str, checksum: Checksum) -> None:
        self.flats: list[FlatTensor] = [] if sharded is None else list(sharded.flats)
        self.group = None if sharded is None else sharded.group
        self.prefix, self.checksum = prefix, checksum
        self.members = {p for flat in self.flats for p in flat.parameters}
        self.pieces = {flat.piece for flat in self.flats}
        strange = [name for flat in self.flats for name, p in _members(flat) if p not in names]
        if strange:
            raise ValueError(
                f"sharded= has {strange[0]}, which is no parameter of this model: give the model it shards"
            )
        self.names = {flat: {name: names[p] for name, p in _members(flat)} for flat in self.flats}

    def parameters(self) -> Iterator[Held]:
        """Views into a whole tensor are whole parameters, also where the piece is a part of the same memory."""
        for flat in self.flats:
            if _share_memory(flat.piece, flat.whole):
                yield from self._wholes("parameter", flat, flat.whole, flattened=False)
            else:
                yield from self._spans("parameter", flat, flat.piece.detach())

    def gradients(self) -> Iterator[Held]:
        """Of the piece; and whole ones, where there are: what a rank has reduced of these is its piece only."""
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
        """Whole parameters beside the pieces, while they are needed."""
        for flat in self.flats:
            if flat.whole.untyped_storage().size() and not _share_memory(flat.piece, flat.whole):
                yield from self._wholes("gathered", flat, flat.whole, flattened=False, compare=False)

    def _spans(self, kind: Kind, flat: FlatTensor, tensor: Tensor, slot: str = "") -> Iterator[Held]:
        """What of each parameter lies in this rank's piece, also where that is nothing."""
        found = {name: (first, where) for name, first, _, where in flat.spans(self.group)}
        for name, shape in zip(flat.names, flat.shapes, strict=True):
            first, where = found.get(name, (0, slice(0, 0)))
            yield self._held(kind, self.names[flat][name], tensor[where], (shape.numel(),), (first,), slot)

    def _wholes(
        self, kind: Kind, flat: FlatTensor, whole: Tensor, flattened: bool, compare: bool = True
    ) -> Iterator[Held]:
        """All parameters of a flat tensor, or their gradients."""
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
        content = self.checksum(tensor) if compare else None
        dtype, piece = str(tensor.dtype).removeprefix("torch."), Piece(offset, tuple(tensor.shape))
        return Held(kind, self.prefix + name, whole, piece, dtype, tensor.nbytes, slot, content)


def _members(flat: FlatTensor) -> Iterator[tuple[str, nn.Parameter]]:
    return zip(flat.names, flat.parameters, strict=True)


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage()._cdata == other.untyped_storage()._cdata
