"""What a rank holds of a model: which piece of which tensor, in bytes. Plain data, as sent by the ranks."""

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

    kind     buffer: of a module, or DDP's buckets; gathered: whole parameters that FSDP has gathered
    name     of the parameter that it is or belongs to
    whole    shape of the tensor over all ranks
    piece    its box on this rank
    dtype    "float32"
    bytes    of the piece
    slot     of optimizer state: "exp_avg"
    content  checksum of the piece, to compare copies and not to show: the values' last digits depend on the
             processor. None if it is not compared
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
    """What a module's operations save for backward: number of tensors, and their bytes."""

    name: str
    tensors: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of the mesh: its name, a rank's coordinate on it, its size."""

    name: str
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class RankHoldings:
    """What one rank holds, and its coordinates on the mesh, outermost axis first; no axes if unknown."""

    rank: int
    held: tuple[Held, ...]
    activations: tuple[Saved, ...] = ()
    mesh: tuple[Axis, ...] = ()

    def bytes_of(self, kind: Kind) -> int:
        """Return the bytes of this kind on this rank."""
        if kind == "activation":
            return sum(saved.bytes for saved in self.activations)
        return sum(held.bytes for held in self.held if held.kind == kind)

    @property
    def bytes(self) -> int:
        """Bytes of all kinds."""
        return sum(map(self.bytes_of, KINDS))
