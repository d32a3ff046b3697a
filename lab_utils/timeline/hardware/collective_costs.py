"""Rounds and bytes of ops on the wire per algorithm: the factors of latency and inverse bandwidth.

B: bytes of the whole tensor (the input of a reduce-scatter, the output of an all-gather); n ranks; N nodes of m ranks,
n = N m. Bytes are those of the busiest rank.

| op                         | ring                      | tree (binomial)               | two_level                  |
|----------------------------|---------------------------|-------------------------------|----------------------------|
| all_reduce                 | 2(n-1) rounds, 2(n-1)/n B | 2 ceil(log2 n) rounds, each B | rings inside, rings across |
| reduce_scatter, all_gather | n-1 rounds, (n-1)/n B     |                               | rings inside, rings across |
| broadcast, reduce          | 2(n-1) rounds, 2(n-1)/n B | ceil(log2 n) rounds, each B   |                            |
| all_to_all                 | n-1 rounds, (n-1)/n B     |                               |                            |
| gather, scatter            | n-1 rounds, (n-1)/n B     |                               |                            |
| barrier                    |                           | 2 ceil(log2 n) rounds         |                            |
| message                    | 1 round, B                |                               |                            |

"ring" is a single ring: all that crosses between two nodes passes one rank's link. "rings" has one ring per rank of a
node, each with an m-th of the tensor and its own link across, as NCCL does with a NIC per GPU. Each rank has a hop in
each ring: one goes across, m - 1 stay inside, so an m-th of a ring's bytes passes its link across and the rest its link
inside. With one rank per node, or in one node, "rings" is "ring".

gloo, torch's backend for CPUs, uses rings with two exceptions: reduce_scatter is an all-reduce of the whole tensor
(torch 2.13, ProcessGroupGloo.cpp), and broadcast is a tree.

Ring and two-level: Patarasuk and Yuan 2009; Mikami et al. 2018 (2D-torus). Trees, and broadcast as a scatter and an
all-gather: Thakur, Rabenseifner and Gropp 2005. An op that spans several nodes crosses nodes in every round, unless it
is two-level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

ALGORITHMS = ("ring", "tree", "gloo", "two_level", "rings")
AT_ONCE = ALGORITHMS.index("rings")  # its bytes inside and across travel at the same time, the others' one by one
_NONE = (0.0, np.inf, 0.0, 0.0)  # infinite time on any link
_Shape = tuple[float, float]  # rounds, bytes


class Wire(NamedTuple):
    """What determines the cost of an op on the wire: name, bytes of the whole tensor, members (global ranks).

    A message is ("message", bytes, (source, destination)).
    """

    name: str
    bytes: int
    ranks: tuple[int, ...]


def wire_rows(wires: Iterable[Wire], ranks_per_node: int | None) -> np.ndarray:
    """float64[w, algorithms, 4]: rounds and bytes within a node, rounds and bytes across nodes.

    Infinite where the algorithm does not support the op. ValueError for an unknown op.
    """
    rows = [_row(wire, ranks_per_node) for wire in wires]
    return np.array(rows, np.float64).reshape(-1, len(ALGORITHMS), 4)


def _row(wire: Wire, ranks_per_node: int | None) -> list[tuple[float, float, float, float]]:
    n = len(wire.ranks)
    if n == 1:
        return [(0.0, 0.0, 0.0, 0.0)] * len(ALGORITHMS)
    if wire.name not in _FLAT:
        raise ValueError(f"how long {wire.name} takes is not known: known are {', '.join(sorted(_FLAT))}")
    nodes = _nodes(wire.ranks, ranks_per_node)
    flat = [_flat_row(shape, n, wire.bytes, len(nodes) > 1) for shape in _FLAT[wire.name]]
    return [*flat, _two_level_row(wire, nodes), _rings_row(wire, nodes)]


def _flat_row(shape: Callable[[int, int], _Shape] | None, n: int, size_bytes: int, spans_nodes: bool):
    if shape is None:
        return _NONE
    rounds, moved = shape(n, size_bytes)
    return (0.0, 0.0, rounds, moved) if spans_nodes else (rounds, moved, 0.0, 0.0)


def _two_level_row(wire: Wire, nodes: dict[int, int]) -> tuple[float, float, float, float]:
    """Rings inside each node, then across; requires several nodes with equally many members, more than one."""
    m, count = next(iter(nodes.values())), len(nodes)
    if wire.name not in _TIMES or count == 1 or m == 1 or set(nodes.values()) != {m}:
        return _NONE
    times = _TIMES[wire.name]
    inside = times * (m - 1), times * (m - 1) / m * wire.bytes
    return (*inside, times * (count - 1), times * (count - 1) / count * wire.bytes / m)


def _rings_row(wire: Wire, nodes: dict[int, int]) -> tuple[float, float, float, float]:
    """As many rings as the smallest node has members; every round of a ring crosses somewhere.

    Where another node has more members, some of them have no link across: all of their hops stay inside.
    """
    if wire.name not in _TIMES:
        return _NONE
    rounds, moved = _around(_TIMES[wire.name])(len(wire.ranks), wire.bytes)
    if len(nodes) == 1:
        return rounds, moved, 0.0, 0.0
    rings = min(nodes.values())
    inside = rings - 1 if max(nodes.values()) == rings else rings  # of a rank's hops, one a ring
    return 0.0, moved * inside / rings, rounds, moved / rings


def _nodes(ranks: tuple[int, ...], ranks_per_node: int | None) -> dict[int, int]:
    """Node → number of the ranks on it."""
    found: dict[int, int] = {}
    for rank in ranks:
        node = 0 if ranks_per_node is None else rank // ranks_per_node
        found[node] = found.get(node, 0) + 1
    return found


def _around(times: int) -> Callable[[int, int], _Shape]:
    """`times` passes around a ring, n - 1 rounds of one chunk each."""
    return lambda n, size_bytes: (times * (n - 1), times * (n - 1) / n * size_bytes)


def _levels(times: int) -> Callable[[int, int], _Shape]:
    """`times` passes over the levels of a binomial tree, one whole tensor per round."""
    return lambda n, size_bytes: (times * (n - 1).bit_length(), times * (n - 1).bit_length() * size_bytes)


_TIMES = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
# name → its shapes as ring, tree and gloo
_FLAT: dict[str, tuple] = {
    "all_reduce": (_around(2), _levels(2), _around(2)),
    "reduce_scatter": (_around(1), None, _around(2)),
    "all_gather": (_around(1), None, _around(1)),
    "broadcast": (_around(2), _levels(1), _levels(1)),
    "reduce": (_around(2), _levels(1), _around(2)),
    "all_to_all": (_around(1), None, _around(1)),
    "gather": (_around(1), None, _around(1)),
    "scatter": (_around(1), None, _around(1)),
    "barrier": (None, *[lambda n, _: (2 * (n - 1).bit_length(), 0)] * 2),
    "message": (lambda n, size_bytes: (1, size_bytes), None, lambda n, size_bytes: (1, size_bytes)),
}
