"""Which rank sends which chunk to which, round by round: index arithmetic of ring, tree and two-level collectives.

Pure: no torch. ring.py and tree.py take their order from `ring_chunk` and `tree_levels`.

A tensor of `numel` elements is split into n chunks; rank c ends a reduce-scatter with chunk c. An empty chunk
(numel < n) is still sent: every rank takes part in every round.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Literal, NamedTuple, get_args

Collective = Literal["all_reduce", "reduce_scatter", "all_gather"]


class Edge(NamedTuple):
    """An edge of the tree. Below it are the ranks child, child + 1, ... end - 1: a contiguous range."""

    child: int
    parent: int
    end: int


def chunk_sizes(numel: int, n: int) -> list[int]:
    """Return the elements in each of n chunks: as equal as possible, longer ones first (as torch.tensor_split)."""
    base, longer = divmod(numel, n)
    return [base + 1] * longer + [base] * (n - longer)


def chunk_offsets(numel: int, n: int) -> list[int]:
    """Return where each chunk begins and where the last one ends: n + 1 numbers."""
    return [0, *accumulate(chunk_sizes(numel, n))]


def ring_chunk(rank: int, k: int, n: int) -> int:
    """Return the chunk that `rank` sends to its right in round k of a ring all-reduce of 2(n - 1) rounds.

    A rank sends what arrived from its left one round before, so the index falls by one per round.
    The first n - 1 rounds are the reduce-scatter: the last chunk to arrive is the rank's own, complete. The
    next n - 1 are the all-gather, which begins with that chunk: one formula serves both.
    """
    return (rank - 1 - k) % n


def ring_range(n: int, collective: Collective) -> range:
    """Return the rounds of the ring all-reduce that make up `collective`."""
    check(n, collective)
    first = n - 1 if collective == "all_gather" else 0
    last = n - 1 if collective == "reduce_scatter" else 2 * (n - 1)
    return range(first, last)


def tree_levels(n: int) -> list[list[Edge]]:
    """Return the binomial tree of ranks 0..n-1 with root 0, leaves first: ceil(log2 n) lists of edges.

    At distance 1, 2, 4, ... the remaining ranks pair up and the upper of each pair sends to the
    lower. No rank is on two edges of one level, so a level is one round.
    """
    distances = [2**level for level in range((n - 1).bit_length())]
    return [[Edge(child, child - d, min(child + d, n)) for child in range(d, n, 2 * d)] for d in distances]


def by_local_rank(n: int, ranks_per_node: int) -> list[int]:
    """Return ranks 0..n-1 ordered by local rank, then by node: (4, 2) -> [0, 2, 1, 3]."""
    return [rank for local in range(ranks_per_node) for rank in range(local, n, ranks_per_node)]


def nodes_of(n: int, ranks_per_node: int) -> int:
    """Return the number of nodes that hold n ranks. ValueError when the ranks do not fill whole nodes."""
    if ranks_per_node < 1 or n % ranks_per_node:
        raise ValueError(f"{n} ranks do not fill nodes of ranks_per_node={ranks_per_node}: take a divisor of {n}")
    return n // ranks_per_node


def check(n: int, collective: str) -> None:
    if n < 1:
        raise ValueError(f"a group has at least 1 rank, and n is {n}")
    if collective not in get_args(Collective):
        raise ValueError(f"collective is one of {', '.join(get_args(Collective))}, and not {collective!r}")
