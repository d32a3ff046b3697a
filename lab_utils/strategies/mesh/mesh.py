"""Ranks on the named axes pp, dp, cp and tp, and experts on ep inside dp × cp: who stands where, and with whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from lab_utils.strategies.mesh.picture import draw

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

AXES = ("pp", "dp", "cp", "tp")  # from the outermost, which is slowest in rank order, to the innermost
_DENSE_AND_EXPERTS = ("dp", "cp")  # ep and edp share out the ranks of these


@dataclass(frozen=True)
class Mesh:
    """The ranks of a job on named axes; a degree is the number of ranks in a group along the axis.

    pp   pipeline stages
    dp   replicas, or shards of them: the groups over which gradients are averaged (with cp)
    cp   slices of the sequence, of the same batch
    tp   slices of each layer: the innermost axis, so its ranks are neighbours and share a node
    ep   ranks that share out the experts, taken from dp × cp; edp = dp × cp / ep hold the same experts

    rank = tp + TP · (cp + CP · (dp + DP · pp)), Megatron-LM's order tp-cp-dp-pp (Narayanan et al. 2021, section 3.2).

    ValueError with the equation when a degree is not a positive integer, ep does not divide dp × cp, or `ranks` is
    given and is not the product.
    """

    pp: int = 1
    dp: int = 1
    cp: int = 1
    tp: int = 1
    ep: int = 1
    ranks: int | None = None

    def __post_init__(self) -> None:
        for name in (*AXES, "ep"):
            degree = getattr(self, name)
            if not isinstance(degree, int) or isinstance(degree, bool) or degree < 1:
                raise ValueError(f"{name} = {degree!r}: a degree counts ranks, so it is an integer of at least 1")
        if self.ranks is None:
            object.__setattr__(self, "ranks", math.prod(self.degrees[name] for name in AXES))
        if math.prod(self.degrees[name] for name in AXES) != self.ranks:
            raise ValueError(_wrong_product(self))
        if self.dp * self.cp % self.ep:
            fitting = [str(n) for n in range(1, self.dp * self.cp + 1) if self.dp * self.cp % n == 0]
            raise ValueError(
                f"ep = {self.ep} does not divide dp × cp = {self.dp} × {self.cp} = {self.dp * self.cp}: "
                f"ep can be {', '.join(fitting)}"
            )

    @cached_property
    def degrees(self) -> Mapping[str, int]:
        """{axis: its number of ranks}, of pp, dp, cp, tp, ep and edp."""
        edp = self.dp * self.cp // self.ep
        return {**{name: getattr(self, name) for name in (*AXES, "ep")}, "edp": edp}

    # ------------------------------------------------------------------ arithmetic
    def coordinates(self, rank: int) -> dict[str, int]:
        """Return {axis: position} of a rank, on all six axes. ValueError for a rank that the mesh does not have."""
        if not 0 <= rank < self.ranks:
            raise ValueError(f"rank {rank} is not on a mesh of {self.ranks} ranks, 0 to {self.ranks - 1}")
        at, rest = {}, rank
        for name in reversed(AXES):
            rest, at[name] = divmod(rest, self.degrees[name])
        edp, ep = divmod(at["dp"] * self.cp + at["cp"], self.ep)
        return {**{name: at[name] for name in AXES}, "ep": ep, "edp": edp}

    def rank_at(self, **coordinates: int) -> int:
        """Return the rank at these positions; an axis left out is at 0. ValueError for a position off the axis."""
        if unknown := coordinates.keys() - set(AXES):
            raise ValueError(f"{', '.join(sorted(unknown))}: a rank's place is given by {', '.join(AXES)}")
        rank = 0
        for name in AXES:
            at = coordinates.get(name, 0)
            if not 0 <= at < self.degrees[name]:
                raise ValueError(f"{name} = {at} is off the axis: {name} has {self.degrees[name]} positions, from 0")
            rank = rank * self.degrees[name] + at
        return rank

    def groups(self, *axes: str) -> tuple[tuple[int, ...], ...]:
        """Return the groups along an axis, or over several together: the ranks that differ on these alone.

        >>> Mesh(dp=2, tp=2).groups("tp"), Mesh(dp=2, tp=2).groups("dp")
        (((0, 1), (2, 3)), ((0, 2), (1, 3)))
        """
        return _groups(self, axes)

    def sharing(self, axis: str, pieces: int) -> tuple[tuple[int, ...], ...]:
        """Return the groups of neighbours along an axis that have the same of so many pieces, fewer than its ranks.

        The rank at position r has piece ⌊r · pieces / degree⌋.

        >>> Mesh(tp=4).sharing("tp", pieces=2)
        ((0, 1), (2, 3))
        """
        found = []
        for group in self.groups(axis):
            same: dict[int, list[int]] = {}
            for at, rank in enumerate(group):
                same.setdefault(at * pieces // len(group), []).append(rank)
            found += map(tuple, same.values())
        return tuple(found)

    def group_of(self, rank: int, *axes: str) -> tuple[int, ...]:
        """Return the rank's group along these axes."""
        at, fixed = self.coordinates(rank), self._fixed(axes)
        return next(each for each in self.groups(*axes) if all(self.coordinates(each[0])[n] == at[n] for n in fixed))

    def _fixed(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the axes on which the members of a group along `axes` agree."""
        if not axes or not set(axes) <= self.degrees.keys():
            raise ValueError(f"{', '.join(axes) or 'no axis'}: the axes of a mesh are {', '.join(self.degrees)}")
        experts = {"ep", "edp"} & set(axes)
        if experts and set(_DENSE_AND_EXPERTS) & set(axes):
            raise ValueError(f"{', '.join(axes)}: ep and edp share out the ranks of dp × cp, so they are not combined")
        shared = ("edp", "ep") if experts else _DENSE_AND_EXPERTS
        return tuple(name for name in ("pp", *shared, "tp") if name not in axes)

    # ------------------------------------------------------------------ on a rank
    @property
    def mine(self) -> dict[str, int]:
        """{axis: position} of this rank."""
        import torch.distributed as dist  # which the notebook's kernel does not load

        return self.coordinates(dist.get_rank())

    def group(self, *axes: str) -> ProcessGroup:
        """Return this rank's process group along these axes.

        The first call on a rank forms the groups of all axes, and of dp and cp together, in one order that is the same
        on every rank: all ranks make it. Another combination is formed when all ranks ask for it.
        """
        return self._formed().group(axes, self.groups(*axes))

    def group_sharing(self, axis: str, pieces: int) -> ProcessGroup:
        """Return this rank's process group of those that share its piece, see `sharing`; all ranks ask for it first."""
        return self._formed().group((axis, "sharing"), self.sharing(axis, pieces))

    @property
    def device_mesh(self) -> DeviceMesh:
        """torch's DeviceMesh with the dims pp, dp, cp and tp, on the same groups. All ranks ask for it together."""
        sizes = {name: self.degrees[name] for name in AXES}
        return self._formed().device_mesh(sizes, [self.group(name) for name in AXES])

    def _formed(self):
        from lab_utils.strategies.mesh.on_ranks import formed  # torch, which the notebook's kernel does not load

        return formed(self.ranks, _together(self))

    # ------------------------------------------------------------------ to look at
    def __str__(self) -> str:
        degrees = " × ".join(f"{name} {self.degrees[name]}" for name in AXES)
        return f"{degrees} = {self.ranks} ranks" + (f", ep {self.ep} in dp × cp" if self.ep > 1 else "")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        rows = {name: self.groups(name) for name, degree in self.degrees.items() if self._is_shown(name, degree)}
        return draw(str(self), self.ranks, rows)._repr_mimebundle_()

    def _is_shown(self, name: str, degree: int) -> bool:
        return degree > 1 and (self.ep > 1 or name != "edp")


@lru_cache(maxsize=1024)  # an op of tensor parallelism asks for its group each time
def _groups(mesh: Mesh, axes: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    by_rest: dict[tuple[int, ...], list[int]] = {}
    fixed = mesh._fixed(axes)
    for rank in range(mesh.ranks):
        at = mesh.coordinates(rank)
        by_rest.setdefault(tuple(at[name] for name in fixed), []).append(rank)
    return tuple(map(tuple, by_rest.values()))


@lru_cache(maxsize=64)
def _together(mesh: Mesh) -> tuple[tuple[tuple[str, ...], tuple[tuple[int, ...], ...]], ...]:
    """Return the groups that are formed together, with their axes, in the order in which they are."""
    axes = [*((name,) for name in AXES), _DENSE_AND_EXPERTS, *((("ep",), ("edp",)) if mesh.ep > 1 else ())]
    return tuple((each, mesh.groups(*each)) for each in axes)


def _wrong_product(mesh: Mesh) -> str:
    """Return the equation that does not hold, and the single changes with which it would."""
    given = {name: getattr(mesh, name) for name in AXES}
    found = math.prod(given.values())
    equation = " × ".join(f"{name} {degree}" for name, degree in given.items())
    mends = [
        f"{name}={mesh.ranks // (found // degree)}"
        for name, degree in given.items()
        if mesh.ranks > 0 and mesh.ranks % (found // degree) == 0
    ]
    mend = f"{' or '.join(mends)} would fit" if mends else f"choose degrees whose product is {mesh.ranks}"
    return f"{equation} = {found} ranks, and there are {mesh.ranks}: {mend}"
