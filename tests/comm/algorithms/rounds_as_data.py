"""The rounds of ring, tree and two-level collectives as data: what the algorithms and pictures of them are held to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lab_utils.comm.algorithms.rounds import (
    Collective,
    Edge,
    by_local_rank,
    check,
    nodes_of,
    ring_chunk,
    ring_range,
    tree_levels,
)  # fmt: skip

Holding = tuple[tuple[frozenset[int], ...], ...]


class Message(NamedTuple):
    """`src` sends `chunks` (their indices) to `dst`."""

    src: int
    dst: int
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """Messages sent at the same time, and what every rank holds once they have arrived.

    number    0, 1, ... over the whole collective
    phase     "reduce_scatter", "all_gather", "reduce", "broadcast", "scatter", "gather", followed by " in node" or
              " across nodes" where there are two levels
    adds      True: the receiver reduces what arrives into its own; False: it overwrites its own
    holds     holds[rank][chunk] = the ranks whose parts are in that chunk of that rank now
    """

    number: int
    phase: str
    adds: bool
    messages: tuple[Message, ...]
    holds: Holding


class _Sends(NamedTuple):
    """What one round sends, before it is known what the ranks hold."""

    phase: str
    adds: bool
    messages: tuple[Message, ...]


class _Ring(NamedTuple):
    """Ranks in the order of the ring, and per position in it the chunks that are sent as one."""

    ranks: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]


def ring_rounds(n: int, collective: Collective = "all_reduce") -> list[Round]:
    """Return the rounds of the ring.

    >>> [tuple(m) for m in ring_rounds(3)[0].messages]
    [(0, 1, (2,)), (1, 2, (0,)), (2, 0, (1,))]
    >>> [sorted(chunk) for chunk in ring_rounds(3)[1].holds[0]]    # halfway: rank 0 has all of chunk 0
    [[0, 1, 2], [0, 2], [0]]
    """
    ring = _Ring(tuple(range(n)), tuple((c,) for c in range(n)))
    return _play(n, collective, _ring_sends([ring], collective))


def tree_rounds(n: int, collective: Collective = "all_reduce") -> list[Round]:
    """Return the rounds of the binomial tree: up to rank 0, then down again.

    >>> [[(m.src, m.dst) for m in each.messages] for each in tree_rounds(4)]
    [[(1, 0), (3, 2)], [(2, 0)], [(0, 2)], [(0, 1), (2, 3)]]
    """
    check(n, collective)
    up, down = tree_levels(n), tree_levels(n)[::-1]
    gathers, scatters = collective == "all_gather", collective == "reduce_scatter"
    sends = [
        *(_tree_sends("gather" if gathers else "reduce", level, gathers, n) for level in up),
        *(_tree_sends("scatter" if scatters else "broadcast", level, scatters, n) for level in down),
    ]
    return _play(n, collective, sends)


def two_level_rounds(n: int, ranks_per_node: int, collective: Collective = "all_reduce") -> list[Round]:
    """Return the rounds of rings inside the nodes, which all run at the same time, and of rings across them.

    In the all-reduce the shard of local rank l is `nodes` consecutive chunks; in the other two it is the chunks
    that the l-th ranks of all nodes own.

    >>> [each.phase for each in two_level_rounds(4, 2)]    # doctest: +NORMALIZE_WHITESPACE
    ['reduce_scatter in node', 'reduce_scatter across nodes', 'all_gather across nodes', 'all_gather in node']
    """
    check(n, collective)
    nodes = nodes_of(n, ranks_per_node)
    order = list(range(n)) if collective == "all_reduce" else by_local_rank(n, ranks_per_node)
    shards = tuple(tuple(order[local * nodes : (local + 1) * nodes]) for local in range(ranks_per_node))
    inside = [_Ring(tuple(range(k, k + ranks_per_node)), shards) for k in range(0, n, ranks_per_node)]
    across = [
        _Ring(tuple(range(local, n, ranks_per_node)), tuple((c,) for c in shard)) for local, shard in enumerate(shards)
    ]
    sends: list[_Sends] = []
    if collective != "all_gather":
        sends += _ring_sends(inside, "reduce_scatter", " in node")
    sends += _ring_sends(across, collective, " across nodes")
    if collective != "reduce_scatter":
        sends += _ring_sends(inside, "all_gather", " in node")
    return _play(n, collective, sends)


def _ring_sends(rings: Sequence[_Ring], collective: Collective, where: str = "") -> Iterator[_Sends]:
    """Yield the sends of rings of equal length that run in parallel."""
    n = len(rings[0].ranks)
    for k in ring_range(n, collective):
        adds = k < n - 1
        messages = tuple(
            Message(rank, ring.ranks[(place + 1) % n], ring.parts[ring_chunk(place, k, n)])
            for ring in rings
            for place, rank in enumerate(ring.ranks)
        )
        yield _Sends(("reduce_scatter" if adds else "all_gather") + where, adds, messages)


def _tree_sends(phase: str, level: list[Edge], only_subtree: bool, n: int) -> _Sends:
    """Return one level: each edge carries the whole tensor, or only the chunks of the ranks below it."""
    upwards = phase in ("reduce", "gather")
    messages = tuple(
        Message(
            *((edge.child, edge.parent) if upwards else (edge.parent, edge.child)),
            tuple(range(edge.child, edge.end) if only_subtree else range(n)),
        )
        for edge in level
    )
    return _Sends(phase, phase == "reduce", messages)


def _play(n: int, collective: Collective, sends: Iterator[_Sends] | list[_Sends]) -> list[Round]:
    """Track what every rank holds: at first its own part of each chunk, in an all-gather of one chunk."""
    holds: Holding = tuple(
        tuple(frozenset({r}) if collective != "all_gather" or r == c else frozenset() for c in range(n))
        for r in range(n)
    )
    rounds = []
    for number, (phase, adds, messages) in enumerate(sends):
        holds = _delivered(holds, messages, adds)
        rounds.append(Round(number, phase, adds, messages, holds))
    return rounds


def _delivered(before: Holding, messages: tuple[Message, ...], adds: bool) -> Holding:
    """Return what ranks hold after a round: all of its messages are sent before any arrives."""
    after = [list(chunks) for chunks in before]
    for src, dst, chunks in messages:
        for c in chunks:
            after[dst][c] = before[src][c] | before[dst][c] if adds else before[src][c]
    return tuple(tuple(chunks) for chunks in after)
