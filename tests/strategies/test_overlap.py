"""A data-parallel step whose gradients are reduced while backward goes on: what overlap predicts, and what none does.

Backward computes bucket after bucket, c_1 .. c_n seconds, and hands each to the wire, where it takes k_1 .. k_n
seconds; the group's wire carries one at a time. Before the update all are waited for. Overlapped, the step takes

    forward + max over j of (c_1 + .. + c_j + k_j + .. + k_n) + update

as bucket j cannot leave before it is computed, nor those behind it before it is over. With n equal buckets that is
forward + max(computing, communication) + min(c, k) + update: on slow links all of the communication and the bucket that
it had to wait for, on fast ones all of the computing and the communication of the last bucket. In one piece after
backward, or in buckets that block, it is the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_costs import alpha_beta_s
from trace_writer import TraceWriter

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

DEVICE = Device("1 TFLOP/s", 1e12, 1e12)
SLOW, FAST = Link("slow", 50e-6, 1e9), Link("fast", 5e-6, 400e9)
FORWARD, UPDATE = 4 * 10**9, 2 * 10**9  # FLOPs: 4 and 2 ms
RANKS = range(4)

flops = st.integers(1, 10**10)
sizes = st.integers(0, 10**8)
buckets = st.lists(st.tuples(flops, sizes), min_size=1, max_size=8)
links = st.builds(Link, st.just("drawn"), st.floats(0, 1e-3), st.floats(1e8, 1e12))
Buckets = Sequence[tuple[int, int]]  # FLOPs and bytes of each, in the order of backward


def step(buckets: Buckets, overlapped: bool, slower: Sequence[int] = (1, 1, 1, 1)) -> Trace:
    """`slower`: so many times as much has each rank to compute in backward."""
    program = TraceWriter(len(RANKS))
    works = []
    for rank in RANKS:
        program.compute(rank, flops=FORWARD)
    for number, size_bytes in buckets:
        for rank in RANKS:
            program.compute(rank, flops=number * slower[rank])
        works += program.collective("all_reduce", "world", RANKS, size_bytes, RANKS if overlapped else ())
    for work in works if overlapped else ():
        program.wait(work)
    for rank in RANKS:
        program.compute(rank, flops=UPDATE)
    return program.trace()


def in_one_piece(buckets: Buckets) -> Buckets:
    return [(sum(number for number, _ in buckets), sum(size for _, size in buckets))]


def seconds(buckets: Buckets, hardware: Hardware) -> tuple[list[float], list[float]]:
    """c and k of each bucket."""
    computing = [number / hardware.device.flops_per_s for number, _ in buckets]
    return computing, [alpha_beta_s("all_reduce", size, set(RANKS), hardware) for _, size in buckets]


def formula_s(computing: Sequence[float], wire: Sequence[float]) -> float:
    ready_s = accumulate(computing)
    return max(at_s + fsum(wire[bucket:]) for bucket, at_s in enumerate(ready_s))


OTHER_S = (FORWARD + UPDATE) / DEVICE.flops_per_s
EQUAL = [(10**9, 10**7)] * 6  # 1 ms of computing and 10 MB each


@pytest.mark.parametrize(("link", "bound_by"), [(SLOW, "communication"), (FAST, "computing")])
def test_overlapped_is_the_larger_and_one_bucket_of_the_smaller(link: Link, bound_by: str) -> None:
    hardware = Hardware(DEVICE, link, algorithm="ring")
    computing, wire = seconds(EQUAL, hardware)
    assert (wire[0] > computing[0]) == (bound_by == "communication")
    t = step(EQUAL, overlapped=True).timeline(hardware)
    wanted_s = OTHER_S + max(fsum(computing), fsum(wire)) + min(computing[0], wire[0])
    assert t.makespan_s == pytest.approx(wanted_s, rel=1e-12)
    assert t.exposed_comm_s == pytest.approx(wanted_s - OTHER_S - fsum(computing), rel=1e-9)


@pytest.mark.parametrize("link", [SLOW, FAST])
def test_in_one_piece_it_is_the_sum(link: Link) -> None:
    hardware = Hardware(DEVICE, link, algorithm="ring")
    (computing_s,), (wire_s,) = seconds(in_one_piece(EQUAL), hardware)
    t = step(in_one_piece(EQUAL), overlapped=True).timeline(hardware)
    assert t.makespan_s == pytest.approx(OTHER_S + computing_s + wire_s, rel=1e-12)
    assert t.exposed_comm_s == pytest.approx(wire_s, rel=1e-12)


@given(buckets, links)
def test_any_buckets(buckets: Buckets, link: Link) -> None:
    hardware = Hardware(DEVICE, link)
    computing, wire = seconds(buckets, hardware)
    overlapped, blocking, whole = (
        trace.timeline(hardware).makespan_s
        for trace in (step(buckets, True), step(buckets, False), step(in_one_piece(buckets), True))
    )
    assert overlapped == pytest.approx(OTHER_S + formula_s(computing, wire), rel=1e-12)
    assert blocking == pytest.approx(OTHER_S + fsum(computing) + fsum(wire), rel=1e-12)
    (all_s,), (whole_s,) = seconds(in_one_piece(buckets), hardware)
    assert whole == pytest.approx(OTHER_S + all_s + whole_s, rel=1e-12)
    least_s = OTHER_S + max(fsum(computing), fsum(wire))
    assert least_s * (1 - 1e-12) <= overlapped <= blocking * (1 + 1e-12)


@given(st.integers(1, 8), flops, sizes, links)
def test_equal_buckets(count: int, number: int, size_bytes: int, link: Link) -> None:
    hardware = Hardware(DEVICE, link)
    (c,), (k,) = seconds([(number, size_bytes)], hardware)
    t = step([(number, size_bytes)] * count, overlapped=True).timeline(hardware)
    assert t.makespan_s == pytest.approx(OTHER_S + count * max(c, k) + min(c, k), rel=1e-12)


@given(buckets, links, st.lists(st.integers(1, 4), min_size=4, max_size=4))
def test_the_slowest_rank_sets_the_pace(buckets: Buckets, link: Link, slower: list[int]) -> None:
    """Every bucket leaves when the last rank has it."""
    hardware = Hardware(DEVICE, link)
    computing, wire = seconds(buckets, hardware)
    t = step(buckets, True, slower).timeline(hardware)
    slowest = [max(slower) * c for c in computing]
    assert t.makespan_s == pytest.approx(OTHER_S + formula_s(slowest, wire), rel=1e-12)
    assert t.waiting_by_rank_s[slower.index(max(slower))] == pytest.approx(0, abs=1e-12)


def test_neither_one_bucket_nor_one_a_layer_is_best_where_steps_cost_time() -> None:
    """Larger buckets overlap less, smaller ones pay the latency more often."""
    hardware = Hardware(DEVICE, Link("far", 1e-3, 5e9), algorithm="ring")
    layers = 64
    took_s = {
        count: step([(12 * 10**10 // count, 10**9 // count)] * count, True).timeline(hardware).makespan_s
        for count in (1, 2, 4, 8, 16, 32, layers)
    }
    best = min(took_s, key=took_s.__getitem__)
    assert best not in (1, layers) and took_s[best] < 0.85 * min(took_s[1], took_s[layers])
