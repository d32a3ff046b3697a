"""What a rank holds of a model: which piece of which tensor, in bytes. Plain data, as it comes from the ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from lab_utils.widgets.gradient_flow.record import Piece

Kind = Literal["parameter", "gradient", "optimizer state", "activation", "buffer", "gathered"]
KINDS: tuple[Kind, ...] = ("parameter", "gradient", "optimizer state", "activation", "buffer", "gathered")


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor on a rank, or the piece of it that the rank has.

    kind     buffer: a module's own, and DDP's buckets; gathered: whole parameters that FSDP has brought together
    name     of the parameter that it is, or belongs to
    whole    shape of the tensor over all ranks
    piece    the box of it that lies here
    dtype    "float32"
    bytes    that the piece takes
    slot     of optimizer state, which: "exp_avg"
    content  a checksum of the piece, for comparing copies and not for showing: its values' last digits depend on the
             processor. None where nobody is to compare it
    """

    kind: Kind
    name: str
    whole: tuple[int, ...]
    piece: Piece
    dtype: str
    bytes: int
    slot: str = ""
    content: int | None = field(default=None, repr=False)

    @property
    def numel(self) -> int:
        return math.prod(self.piece.shape)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a module's operations keep for the backward: how many tensors, and their bytes."""

    name: str
    tensors: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Axis:
    """Of the mesh: where a rank is on it, out of so many."""

    name: str
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class RankHoldings:
    """All that one rank holds, and where it is on the mesh, outermost axis first; no axes where nobody said."""

    rank: int
    held: tuple[Held, ...]
    activations: tuple[Saved, ...] = ()
    mesh: tuple[Axis, ...] = ()

    def bytes_of(self, kind: Kind) -> int:
        """All bytes of this kind on this rank."""
        if kind == "activation":
            return sum(saved.bytes for saved in self.activations)
        return sum(held.bytes for held in self.held if held.kind == kind)

    @property
    def bytes(self) -> int:
        """All of them together."""
        return sum(map(self.bytes_of, KINDS))
