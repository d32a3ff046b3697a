"""What all ranks hold: a table's rows, of a tensor or of several each, and totals by kind: bytes, shares, copies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lab_utils.widgets.shard_map import words
from lab_utils.widgets.shard_map.record import KINDS, Axis, Held, Kind, RankHoldings
from lab_utils.widgets.shard_map.tensor_layout import Spread

CELLS, FEWEST_ROWS, MOST_ROWS = 900, 12, 28  # limits of legibility


@dataclass(frozen=True)
class Row:
    """A row of the table: one tensor or a group of them; of activations only bytes are known."""

    name: str
    spreads: tuple[Spread, ...]
    bytes: tuple[int, ...]  # by rank
    names: int = 1

    @property
    def whole_bytes(self) -> int:
        return sum(spread.whole_bytes for spread in self.spreads)

    @property
    def told(self) -> tuple[Spread, ...]:
        """The spreads described in text: scalars such as a step count are left out beside larger tensors."""
        return tuple(spread for spread in self.spreads if not spread.is_scalar) or self.spreads

    @cached_property
    def drawn(self) -> tuple[Spread, ...]:
        """The spreads drawn as boxes: moments of a weight with the same layout share one."""
        alike = {(spread.name, spread.whole, spread.places): spread for spread in reversed(self.told)}
        return tuple(reversed(alike.values()))

    @property
    def differ(self) -> frozenset[int]:
        """Ranks whose copies differ from the others."""
        return frozenset(at for spread in self.spreads for at in spread.differ)


@dataclass(frozen=True)
class Sum:
    """One kind over all ranks. `whole_bytes` is the size of one full copy; of activations, the sum over ranks."""

    kind: Kind
    whole_bytes: int
    bytes: tuple[int, ...]
    alone: tuple[int, ...]
    missing_bytes: int

    def share(self, at: int) -> float:
        return self.bytes[at] / self.whole_bytes if self.whole_bytes else 0.0

    @property
    def is_even(self) -> bool:
        """Whether ranks differ by no more than 0.5 %, which three digits do not show."""
        return max(self.bytes) - min(self.bytes) <= 0.005 * max(self.bytes)

    @property
    def copies(self) -> float:
        """Number of full copies over all ranks."""
        return sum(self.bytes) / self.whole_bytes if self.whole_bytes else 0.0


class Shards:
    """The holdings of all ranks.

    ValueError if a rank appears twice, ranks hold nothing or tensors of different shapes under one name, or the mesh
    has another number of ranks.

    mesh   names and sizes of its axes, outermost first, ranks in order along the last; default: the ranks' own mesh
    """

    def __init__(self, holdings: Sequence[RankHoldings], mesh: Mapping[str, int] | None = None) -> None:
        self.ranks = sorted(holdings, key=lambda rank: rank.rank)
        numbers = [rank.rank for rank in self.ranks]
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(words.NOT_EACH_ONCE.format(ranks=numbers))
        self.axes = _axes(self.ranks, mesh)
        self.numbers = numbers
        self.spreads = {kind: tuple(self._spreads(kind)) for kind in KINDS if kind != "activation"}
        self.kinds = tuple(kind for kind in KINDS if self.spreads.get(kind) or self._keeps(kind))
        if not self.kinds:
            raise ValueError(words.HOLD_NOTHING)

    def __len__(self) -> int:
        return len(self.ranks)

    def _keeps(self, kind: Kind) -> bool:
        return kind == "activation" and any(rank.activations for rank in self.ranks)

    def _spreads(self, kind: Kind) -> Iterator[Spread]:
        found: dict[tuple[str, str], dict[int, list[Held]]] = {}
        for at, rank in enumerate(self.ranks):
            for held in rank.held:
                if held.kind == kind:
                    found.setdefault((held.name, held.slot), {}).setdefault(at, []).append(held)
        return (Spread.of(self.numbers, by_rank) for by_rank in found.values())

    @cached_property
    def sums(self) -> dict[Kind, Sum]:
        """The sum of each kind present."""
        return {kind: self._sum(kind) for kind in self.kinds}

    def _sum(self, kind: Kind) -> Sum:
        held = tuple(rank.bytes_of(kind) for rank in self.ranks)
        if kind == "activation":
            return Sum(kind, sum(held), held, held, 0)
        spreads = self.spreads[kind]
        alone = tuple(sum(spread.alone_on(at) for spread in spreads) for at in range(len(self)))
        whole, missing = sum(s.whole_bytes for s in spreads), sum(s.missing_bytes for s in spreads)
        return Sum(kind, whole, held, alone, missing)

    def rows(self, kind: Kind) -> tuple[Row, ...]:
        """Return a row per name, in the order of the model's parameters; grouped by module if there are too many."""
        most = max(FEWEST_ROWS, min(MOST_ROWS, CELLS // len(self)))
        if kind == "activation":
            return tuple(self._activation_rows(most))
        by_name: dict[str, list[Spread]] = {spread.name: [] for spread in self.spreads["parameter"]}
        for spread in self.spreads.get(kind, ()):
            by_name.setdefault(spread.name, []).append(spread)
        return tuple(
            self._row(name, [spread for member in names for spread in by_name[member]], len(names))
            for name, names in few([name for name in by_name if by_name[name]], most).items()
        )

    def _row(self, name: str, spreads: list[Spread], names: int) -> Row:
        held = tuple(sum(spread.bytes_on(at) for spread in spreads) for at in range(len(self)))
        return Row(name, tuple(spreads), held, names)

    def _activation_rows(self, most: int) -> Iterator[Row]:
        by_name: dict[str, list[int]] = {}
        for at, rank in enumerate(self.ranks):
            for saved in rank.activations:
                by_name.setdefault(saved.name, [0] * len(self))[at] += saved.bytes
        for name, names in few(list(by_name), most).items():
            sums = [sum(column) for column in zip(*(by_name[member] for member in names), strict=True)]
            yield Row(name, (), tuple(sums), len(names))


def few(names: Sequence[str], most: int) -> dict[str, list[str]]:
    """Group names if there are more than `most`: by their prefix up to a dot, and neighbours as needed.

    >>> few(["0.up.weight", "0.up.bias", "1.up.weight"], 2)
    {"0.up": ["0.up.weight", "0.up.bias"], "1.up": ["1.up.weight"]}
    >>> list(few([f"blocks.{n}" for n in range(6)], 3))
    ["blocks.0 … 1", "blocks.2 … 3", "blocks.4 … 5"]
    """
    depth = max((name.count(".") for name in names), default=0) + 1
    while depth > 1 and len({_top(name, depth) for name in names}) > most:
        depth -= 1
    whole = {_top(name, depth) for name in names}
    if len(whole) > most / 2 and len(whole) <= most:
        return _runs(names, depth, 1)
    deeper = depth + (len(whole) <= most)  # far fewer than allowed: group neighbours of the next depth
    return next(rows for size in range(1, len(names) + 2) if len(rows := _runs(names, deeper, size)) <= most)


def _runs(names: Sequence[str], depth: int, size: int) -> dict[str, list[str]]:
    """Group by the first `depth` parts of the names, then `size` neighbours under one module."""
    members: dict[str, dict[str, list[str]]] = {}
    for name in names:
        members.setdefault(_top(name, depth - 1), {}).setdefault(_top(name, depth), []).append(name)
    rows = {}
    for parts in members.values():
        for first in range(0, len(parts), size):
            run = list(parts)[first : first + size]
            title = run[0] if len(run) == 1 else f"{run[0]} … {run[-1].rpartition('.')[2]}"
            rows[title] = [name for part in run for name in parts[part]]
    return rows


def _top(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _axes(ranks: Sequence[RankHoldings], mesh: Mapping[str, int] | None) -> tuple[tuple[Axis, ...], ...]:
    """Return each rank's coordinates on the mesh, without axes of size 1."""
    if mesh is None:
        said = [rank.mesh for rank in ranks]
        alike = {tuple((axis.name, axis.size) for axis in axes) for axes in said}
        if len(alike) > 1 or len(set(said)) < len(ranks) or _ranks_of(said[0]) != len(ranks):
            return tuple(() for _ in ranks)
        return tuple(tuple(axis for axis in axes if axis.size > 1) for axes in said)
    if math.prod(mesh.values()) != len(ranks):
        sizes = " × ".join(f"{name} {size}" for name, size in mesh.items())
        wanted = math.prod(mesh.values())
        raise ValueError(words.OTHER_MESH.format(sizes=sizes, wanted=wanted, ranks=len(ranks)))
    return tuple(_places(at, mesh) for at in range(len(ranks)))


def _ranks_of(axes: Sequence[Axis]) -> int:
    return math.prod(axis.size for axis in axes)


def _places(at: int, mesh: Mapping[str, int]) -> tuple[Axis, ...]:
    found = []
    for name, size in reversed(mesh.items()):
        at, place = divmod(at, size)
        found.append(Axis(name, place, size))
    return tuple(axis for axis in reversed(found) if axis.size > 1)
