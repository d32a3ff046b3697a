"""Gradients summed by messages in two levels: the numbers, the bytes, and by the timeline when they win over a ring."""

from __future__ import annotations

import data_compress_programs as programs
import numpy as np
import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

TWO_LEVEL = 'MultiHop("two_level", 2)'
MESSAGES = ('MultiHop("ring")', 'MultiHop("tree")', TWO_LEVEL)
FREE = Device("computes at once", 1e30, 1e30)
SIZE_BYTES = 8 * 4096
INSIDE, ACROSS = Link("inside", 1e-6, 1e9), Link("across", 5e-6, 1e8)


@pytest.mark.parametrize("how", MESSAGES)
def test_the_mean_to_rounding(ranks4: Ranks, how: str) -> None:
    of_ranks = ranks4.run(programs.aggregated, how, 2)
    for step in range(2):
        for number in range(len(programs.SHAPES)):
            mean = np.mean([had[step][number] for had, _, _ in of_ranks], axis=0)
            for _, became, _ in of_ranks:
                np.testing.assert_allclose(became[step][number], mean, rtol=0, atol=1e-15)
                np.testing.assert_array_equal(became[step][number], of_ranks[0][1][step][number])


@pytest.fixture(scope="module")
def traces(ranks4: Ranks) -> dict[str, Trace]:
    """One backward whose gradients are one bucket, by each algorithm and by the backend's all-reduce."""
    return {how: ranks4.record(programs.one_bucket, how, SIZE_BYTES) for how in (*MESSAGES, "mean")}


@pytest.mark.parametrize("how", MESSAGES)
def test_bytes_are_those_of_the_messages(traces: dict[str, Trace], how: str) -> None:
    sent = [sum(op.bytes for op in ops if op.kind == "send") for ops in traces[how].ops]
    assert traces[how].results == sent
    assert sum(sent) == 2 * 3 * SIZE_BYTES  # 2 (n - 1) B: what differs is who sends how much of it where


def crossing_bytes(trace: Trace) -> int:
    """What goes from one node of two ranks to the other."""
    return sum(op.bytes for op in trace if op.kind == "send" and op.rank // 2 != op.peer // 2)


def test_less_of_it_crosses(traces: dict[str, Trace]) -> None:
    ring, tree, two = (crossing_bytes(traces[how]) for how in MESSAGES)
    assert ring == 2 * 6 * SIZE_BYTES / 4  # two ranks send to the other node, a quarter in each of six rounds
    assert two == 4 * 2 * SIZE_BYTES / 4  # all four do, but in two rounds only
    assert tree == 2 * SIZE_BYTES


def predicted_s(trace: Trace, inside: Link, across: Link, algorithm: str = "best") -> float:
    return trace.timeline(Hardware(FREE, inside, 2, across, algorithm)).makespan_s


def test_two_levels_win_where_nodes_are_far_apart(traces: dict[str, Trace]) -> None:
    ring_s, _, two_s = (predicted_s(traces[how], INSIDE, ACROSS) for how in MESSAGES)
    assert ring_s == pytest.approx(6 * (5e-6 + SIZE_BYTES / 4 / 1e8), rel=0.05)
    assert two_s == pytest.approx(2 * (1e-6 + SIZE_BYTES / 2 / 1e9) + 2 * (5e-6 + SIZE_BYTES / 4 / 1e8), rel=1e-6)
    assert ring_s / two_s > 2.5


def test_messages_take_what_the_formula_of_the_whole_op_says(traces: dict[str, Trace]) -> None:
    by_messages_s = predicted_s(traces[TWO_LEVEL], INSIDE, ACROSS)
    assert predicted_s(traces["mean"], INSIDE, ACROSS, "two_level") == pytest.approx(by_messages_s, rel=1e-6)


def test_two_levels_win_nothing_where_all_links_are_alike(traces: dict[str, Trace]) -> None:
    wide = Link("alike, and no latency", 0.0, 1e8)
    ring_s, _, two_s = (predicted_s(traces[how], wide, wide) for how in MESSAGES)
    assert two_s == pytest.approx(ring_s, rel=1e-6)


@pytest.mark.parametrize(("times", "wins"), [(1.5, False), (1.9, False), (2.1, True), (4, True)])
def test_with_one_port_a_node_two_levels_need_links_inside_that_are_n_nodes_as_fast(
    traces: dict[str, Trace], times: float, wins: bool
) -> None:
    """The ring has the port alone; the two rings across share it."""
    port, shared = Link("port", 0.0, 1e8), Link("half a port", 0.0, 0.5e8)
    inside = Link("inside", 0.0, times * 1e8)
    ring_s = predicted_s(traces['MultiHop("ring")'], inside, port)
    assert (predicted_s(traces[TWO_LEVEL], inside, shared) < ring_s) == wins


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ('MultiHop("star")', "algorithm='star': known are ring, tree, two_level"),
        ("MultiHop()", "ranks_per_node=None: two_level needs it"),
        ('MultiHop("ring", 2)', "ranks_per_node=2: two_level needs it"),
    ],
)
def test_what_cannot_be_is_refused(ranks2: Ranks, how: str, message: str) -> None:
    with pytest.raises(RankError, match=message):
        ranks2.run(programs.reduction, how)


def test_ranks_that_fill_no_nodes_are_refused(ranks4: Ranks) -> None:
    with pytest.raises(RankError, match="4 ranks do not fill nodes of ranks_per_node=3"):
        ranks4.run(programs.aggregated, 'MultiHop("two_level", 3)', 1)
