"""Rounds and bytes on the wire are those of the lab's ring, tree and two-level algorithms, and cost as they must."""

from __future__ import annotations

from collections import Counter
from math import isinf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.comm.algorithms import formulas
from lab_utils.timeline.hardware import ALGORITHMS, Hardware, Link, Wire, wire_rows

CHUNKED = ("all_reduce", "reduce_scatter", "all_gather")
NAMES = (*CHUNKED, "broadcast", "reduce", "all_to_all", "gather", "scatter", "barrier")
RING, TREE, GLOO, TWO_LEVEL, RINGS = range(len(ALGORITHMS))

sizes = st.integers(0, 10**9)
latencies_s = st.floats(0, 1e-3)
bandwidths = st.floats(1e6, 1e12)
links = st.builds(Link, st.just("any"), latencies_s, bandwidths)


@st.composite
def wires(draw) -> tuple[Wire, int | None]:
    """Any op of any ranks, and how many of these are on a node."""
    name = draw(st.sampled_from((*NAMES, "message")))
    many = 2 if name == "message" else draw(st.integers(1, 12))
    ranks = tuple(draw(st.lists(st.integers(0, 30), min_size=many, max_size=many, unique=True)))
    return Wire(name, draw(sizes), ranks), draw(st.none() | st.integers(1, 8))


def one(name: str, size_bytes: int, ranks: tuple[int, ...], ranks_per_node: int | None = None) -> np.ndarray:
    """float64[algorithms, 4]."""
    return wire_rows([Wire(name, size_bytes, ranks)], ranks_per_node)[0]


def on(link: Link, per_node: int | None, across: Link | None, algorithm: str = "best") -> Hardware:
    return Hardware(None, link, per_node, across or (link if per_node else None), algorithm)


def cost_s(wire: Wire, hardware: Hardware) -> float:
    return float(hardware.wire_s(wire_rows([wire], hardware.ranks_per_node))[0])


# ---------------------------------------------------------------------- against the algorithms that the lab runs
@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("n", range(2, 18))
def test_rings(name: str, n: int) -> None:
    size_bytes = 24 * n  # chunks are equal
    costs = [formulas.ring(name, n, rank, size_bytes) for rank in range(n)]
    busiest = max(costs, key=lambda cost: cost.bytes)
    assert tuple(one(name, size_bytes, tuple(range(n)))[RING]) == (busiest.rounds, busiest.bytes, 0, 0)


@pytest.mark.parametrize("n", range(2, 18))
def test_trees(n: int) -> None:
    """Rank 0 is in every round: going up it is sent what it sends going down."""
    size_bytes = 1000
    root = formulas.tree("all_reduce", n, 0, size_bytes)
    assert root.bytes == max(formulas.tree("all_reduce", n, rank, size_bytes).bytes for rank in range(n))
    assert tuple(one("all_reduce", size_bytes, tuple(range(n)))[TREE]) == (root.rounds, 2 * root.bytes, 0, 0)
    half = one("broadcast", size_bytes, tuple(range(n)))[TREE]
    assert tuple(half) == (root.rounds / 2, root.bytes, 0, 0)


def test_gloo_reduces_and_scatters_by_an_all_reduce() -> None:
    rows = {name: one(name, 1000, tuple(range(5))) for name in ("all_reduce", "reduce_scatter", "all_gather")}
    assert tuple(rows["reduce_scatter"][GLOO]) == tuple(rows["all_reduce"][RING]) == (8, 1600, 0, 0)
    assert tuple(rows["all_gather"][GLOO]) == tuple(rows["all_gather"][RING])


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize(("nodes", "m"), [(2, 2), (2, 4), (4, 2), (3, 5), (8, 8)])
def test_two_levels(name: str, nodes: int, m: int) -> None:
    n = nodes * m
    size_bytes = 24 * n
    costs = [formulas.two_level(name, n, rank, size_bytes, m) for rank in range(n)]
    assert {(cost.bytes, cost.bytes_across, cost.rounds) for cost in costs} == {
        (costs[0].bytes, costs[0].bytes_across, costs[0].rounds)
    }
    rounds, inside, rounds_across, across = one(name, size_bytes, tuple(range(n)), m)[TWO_LEVEL]
    assert (inside + across, across) == (costs[0].bytes, costs[0].bytes_across)
    assert rounds + rounds_across == costs[0].rounds
    assert rounds_across == formulas.ring(name, nodes, 0, nodes).rounds


# ---------------------------------------------------------------------- by hand
def test_a_barrier_is_a_tree_without_bytes() -> None:
    assert tuple(one("barrier", 0, (0, 1, 2, 3))[TREE]) == (4, 0, 0, 0)
    assert isinf(one("barrier", 0, (0, 1, 2, 3))[RING].sum())


def test_a_message_is_one_round() -> None:
    assert tuple(one("message", 100, (5, 2))[RING]) == (1, 100, 0, 0)
    assert tuple(one("message", 100, (5, 2), 4)[RING]) == (0, 0, 1, 100)


@pytest.mark.parametrize(
    ("ranks", "per_node", "two_level"),
    [
        (range(8), 4, True),
        (range(8), 8, False),  # one node
        (range(8), 1, False),  # one rank a node
        (range(6), 4, False),  # 4 and 2
        ((0, 2, 4, 6), 4, True),  # 2 and 2
        ((0, 4, 8), 4, False),
    ],
)
def test_two_levels_need_equal_nodes(ranks, per_node: int, two_level: bool) -> None:
    rows = one("all_reduce", 1000, tuple(ranks), per_node)
    assert np.isfinite(rows[TWO_LEVEL]).all() == two_level
    assert rows[RING][2] == (0 if per_node == 8 else 2 * (len(ranks) - 1))


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize(("nodes", "m"), [(2, 1), (2, 2), (2, 4), (4, 2), (3, 5), (8, 8)])
def test_a_ring_per_nic_sends_the_ring_s_bytes_by_one_link_across_and_inside(name: str, nodes: int, m: int) -> None:
    n = nodes * m
    cost = formulas.ring(name, n, 0, 24 * n)
    rounds, inside, rounds_across, across = one(name, 24 * n, tuple(range(n)), m)[RINGS]
    assert (rounds, rounds_across) == (0, cost.rounds)
    assert (inside, across) == pytest.approx((cost.bytes * (m - 1) / m, cost.bytes / m), rel=1e-12)


def test_a_ring_per_nic_by_hand() -> None:
    """2 nodes of 8, 496 MB: of 2 (15/16) 496 MB an eighth passes a NIC of 25 GB/s, the rest a rank's link inside."""
    gpt2, nic = Wire("all_reduce", 496_000_000, tuple(range(16))), Link("NIC", 10e-6, 25e9)
    for inside, slower in ((400e9, 200e9), (190e9, 200e9), (100e9, 8 / 7 * 100e9)):
        took_s = cost_s(gpt2, on(Link("inside", 1e-6, inside), 8, nic, "rings"))
        assert took_s == pytest.approx(30 * 10e-6 + 2 * 15 / 16 * 496e6 / slower, rel=1e-12)
    assert cost_s(gpt2, on(nic, 8, nic, "ring")) == pytest.approx(30 * 10e-6 + 2 * 15 / 16 * 496e6 / 25e9, rel=1e-12)


@pytest.mark.parametrize(("ranks", "links_across"), [((0, 1, 2, 4, 5), 2), ((0, 4, 8), 1), (range(8), 4)])
def test_rings_are_as_many_as_the_smallest_node_has_members(ranks, links_across: int) -> None:
    rows = one("all_reduce", 10**6, tuple(ranks), 4)
    assert rows[RINGS][3] * links_across == pytest.approx(rows[RING][3], rel=1e-12)


@pytest.mark.parametrize("nodes", [(2, 2), (3, 2), (1, 1, 1), (2, 1), (4, 4, 3), (8, 8)])
def test_the_rings_of_the_busiest_rank_hop_by_hop(nodes: tuple[int, ...]) -> None:
    """Ring r leaves each node by the r-th of its ranks, and each of its hops carries the same bytes."""
    members = [[8 * node + rank for rank in range(count)] for node, count in enumerate(nodes)]
    inside, across = Counter(), Counter()
    for r in range(min(nodes)):
        for of_node in members:
            inside.update(rank for rank in of_node if rank != of_node[r])
            across[of_node[r]] += 1
    rows = one("all_reduce", 10**6, tuple(sum(members, [])), 8)
    part = rows[RING][3] / min(nodes)
    wanted = max(inside.values(), default=0) * part, max(across.values()) * part
    assert (rows[RINGS][1], rows[RINGS][3]) == pytest.approx(wanted, rel=1e-12)


@given(st.sampled_from(CHUNKED), sizes, st.sets(st.integers(0, 30), min_size=2), links, links)
def test_with_one_rank_per_node_rings_are_the_ring(name: str, size_bytes: int, ranks, link: Link, across: Link) -> None:
    rows = one(name, size_bytes, tuple(ranks), 1)
    assert tuple(rows[RINGS]) == tuple(rows[RING])
    took_s = [cost_s(Wire(name, size_bytes, tuple(ranks)), on(link, 1, across, each)) for each in ("rings", "ring")]
    assert took_s[0] == pytest.approx(took_s[1], rel=1e-12)


def test_in_one_node_rings_are_the_ring() -> None:
    rows = one("all_gather", 1000, (0, 1, 2), 4)
    assert tuple(rows[RINGS]) == tuple(rows[RING])
    assert not np.isfinite(one("broadcast", 1000, (0, 1, 2), 4)[RINGS]).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_op_of_one_rank_is_free(name: str) -> None:
    assert not one(name, 10**9, (3,)).any()


def test_an_unknown_op_is_named() -> None:
    with pytest.raises(ValueError, match="how long all_scatter takes is not known: known are all_gather, "):
        one("all_scatter", 8, (0, 1))


def test_no_ops() -> None:
    assert wire_rows([], None).shape == (0, len(ALGORITHMS), 4)
    assert Hardware(None, Link("any", 0.0, 1.0)).wire_s(wire_rows([], None)).shape == (0,)


# ---------------------------------------------------------------------- what they cost
@given(wires(), links, links)
def test_the_best_is_the_least_of_those_that_there_are(drawn, link: Link, across: Link) -> None:
    wire, per_node = drawn
    rows = wire_rows([wire], per_node)[0]
    at_s = (link.latency_s, 1 / link.bytes_per_s, across.latency_s, 1 / across.bytes_per_s)

    def by_hand(name: str, row: np.ndarray) -> float:
        latency_s, inside_s, latency_across_s, across_s = row * at_s
        bytes_s = max(inside_s, across_s) if name == "rings" else inside_s + across_s
        return latency_s + latency_across_s + bytes_s

    by_hand_s = {name: by_hand(name, row) for name, row in zip(ALGORITHMS, rows, strict=True) if np.isfinite(row).all()}
    assert cost_s(wire, on(link, per_node, across)) == pytest.approx(min(by_hand_s.values()), rel=1e-12)
    for algorithm in ALGORITHMS:
        expected_s = by_hand_s.get(algorithm, min(by_hand_s.values()))
        assert cost_s(wire, on(link, per_node, across, algorithm)) == pytest.approx(expected_s, rel=1e-12)


@given(wires(), sizes, links, links, st.sampled_from(("best", *ALGORITHMS)))
def test_more_bytes_take_no_less(drawn, more: int, link: Link, across: Link, algorithm: str) -> None:
    wire, per_node = drawn
    hardware = on(link, per_node, across, algorithm)
    assert cost_s(wire, hardware) <= cost_s(wire._replace(bytes=wire.bytes + more), hardware)


@given(wires(), links, links, latencies_s, st.floats(1, 100), st.sampled_from(("best", *ALGORITHMS)))
def test_better_links_take_no_longer(drawn, link: Link, across: Link, less_s: float, times: float, algorithm) -> None:
    wire, per_node = drawn
    better = Link("better", max(0.0, link.latency_s - less_s), link.bytes_per_s * times)
    assert cost_s(wire, on(better, per_node, across, algorithm)) <= cost_s(wire, on(link, per_node, across, algorithm))
    if per_node is not None:
        swapped = on(across, per_node, better, algorithm), on(across, per_node, link, algorithm)
        assert cost_s(wire, swapped[0]) <= cost_s(wire, swapped[1])
