"""One tensor over all ranks: where its pieces are, what only one rank has, and whether copies are equal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from lab_utils.widgets.gradient_flow.record import Piece
from lab_utils.widgets.shard_map import words
from lab_utils.widgets.shard_map.record import Held

Box = tuple[float, float, float, float]  # left, top, width, height, as parts of the whole


@dataclass(frozen=True)
class Spread:
    """`held[i]` are the i-th rank's pieces of the tensor: usually one, possibly none.

    whole         its shape over all ranks
    whole_bytes   size of one full copy
    """

    name: str
    slot: str
    whole: tuple[int, ...]
    whole_bytes: int
    held: tuple[tuple[Held, ...], ...]

    @classmethod
    def of(cls, ranks: Sequence[int], found: Mapping[int, Sequence[Held]]) -> Spread:
        """Build it from what the i-th rank holds of one tensor. ValueError if ranks disagree on its shape."""
        every = [(at, held) for at in sorted(found) for held in found[at]]
        (first_at, first), *_ = every
        for at, held in every:
            if held.whole != first.whole:
                wholes = {"first": list(first.whole), "other": list(held.whole)}
                which = {"first_rank": ranks[first_at], "other_rank": ranks[at]}
                raise ValueError(words.UNLIKE_WHOLES.format(name=first.name, **wholes, **which))
        size = max((held.bytes / held.numel for _, held in every if held.numel), default=0)
        held = tuple(tuple(found.get(at, ())) for at in range(len(ranks)))
        return cls(first.name, first.slot, first.whole, round(size * math.prod(first.whole)), held)

    def bytes_on(self, at: int) -> int:
        return sum(held.bytes for held in self.held[at])

    def alone_on(self, at: int) -> int:
        """Return the bytes on this rank that no other rank has."""
        elements = sum(held.numel for held in self.held[at])
        return round(self.bytes_on(at) * self._counted[0][at] / elements) if elements else 0

    @property
    def missing_bytes(self) -> int:
        """Bytes of the whole that no rank holds."""
        elements = math.prod(self.whole)
        return round(self.whole_bytes * (1 - self._counted[1] / elements)) if elements else 0

    @property
    def is_scalar(self) -> bool:
        return math.prod(self.whole) == 1

    @cached_property
    def _counted(self) -> tuple[tuple[int, ...], int]:
        return count(self.whole, self.places)

    @cached_property
    def places(self) -> tuple[tuple[Piece, ...], ...]:
        """The pieces on each rank."""
        return tuple(tuple(held.piece for held in held_here) for held_here in self.held)

    @cached_property
    def copies(self) -> dict[Piece, list[tuple[int, Held]]]:
        """Each non-empty piece, with the ranks that have exactly this piece."""
        found: dict[Piece, list[tuple[int, Held]]] = {}
        for at, pieces in enumerate(self.held):
            for held in pieces:
                if held.numel:
                    found.setdefault(held.piece, []).append((at, held))
        return found

    @cached_property
    def differ(self) -> frozenset[int]:
        """Ranks whose copy differs from the majority's; without a majority, all ranks that have a copy."""
        return frozenset(at for same in self.copies.values() for at in _odd(same))

    @property
    def is_compared(self) -> bool:
        """Whether all pieces with copies were compared."""
        return all(held.content is not None for same in self.copies.values() if len(same) > 1 for _, held in same)

    def box(self, piece: Piece) -> Box:
        """Return a piece's box in the picture of the whole: the first split dim downwards, the second to the right.
        For a matrix these are rows and columns; entries of a vector go downwards."""
        down, right = self._drawn
        (top, height), (left, width) = self._part(piece, down), self._part(piece, right)
        return left, top, width, height

    def _part(self, piece: Piece, dim: int | None) -> tuple[float, float]:
        if dim is None or not self.whole[dim]:
            return 0.0, 1.0
        return piece.offset[dim] / self.whole[dim], piece.shape[dim] / self.whole[dim]

    @cached_property
    def _drawn(self) -> tuple[int | None, int | None]:
        """The dims drawn downwards and to the right: the first split ones."""
        split = [
            dim
            for dim, size in enumerate(self.whole)
            if any(piece.shape[dim] != size for piece in self.copies)
        ]  # fmt: skip
        if len(split) == 1:
            return (split[0], None) if split[0] == 0 else (None, split[0])
        return (split[0], split[1]) if split else (None, None)


def _odd(same: Sequence[tuple[int, Held]]) -> list[int]:
    compared = [(at, held.content) for at, held in same if held.content is not None]
    if len({content for _, content in compared}) < 2:
        return []
    usual, times = Counter(content for _, content in compared).most_common(1)[0]
    return [at for at, content in compared if content != usual or 2 * times <= len(compared)]


@lru_cache(4096)  # optimizer state is laid out like its parameters
def count(whole: tuple[int, ...], held: tuple[tuple[Piece, ...], ...]) -> tuple[tuple[int, ...], int]:
    """Return (elements that only this rank has, per rank; elements that any rank has), of each rank's boxes."""
    cuts = [
        sorted({0, size, *(edge for pieces in held for piece in pieces for edge in _edges(piece, dim))})
        for dim, size in enumerate(whole)
    ]
    sizes = np.ones((), np.int64)
    for dim_cuts in cuts:
        sizes = np.multiply.outer(sizes, np.array([b - a for a, b in pairwise(dim_cuts)], np.int64))
    masks = [np.zeros(sizes.shape, bool) for _ in held]
    for mask, pieces in zip(masks, held, strict=True):
        for piece in pieces:
            mask[tuple(_cells(piece, cuts))] = True
    holders = np.sum(masks, axis=0)
    alone = tuple(int(sizes[mask & (holders == 1)].sum()) for mask in masks)
    return alone, int(sizes[holders > 0].sum())


def _edges(piece: Piece, dim: int) -> tuple[int, int]:
    return piece.offset[dim], piece.offset[dim] + piece.shape[dim]


def _cells(piece: Piece, cuts: Sequence[Sequence[int]]) -> Iterator[slice]:
    for dim, dim_cuts in enumerate(cuts):
        start, end = _edges(piece, dim)
        yield slice(dim_cuts.index(start), dim_cuts.index(end))
