"""What holds for every predicted timeline: each op is where the slow simulator has it, on whatever hardware."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from math import fsum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_simulator import SlowSimulator, Stuck, meeting_key
from slow_spans import expected_spans
from traces_strategy import Deadlocked, Lacking, deadlocked, hardwares, lacking_a_side, traces

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.timeline import Timeline, Trace
from lab_utils.timeline.hardware import Hardware, Link

COLUMNS = ("rank", "lane", "track", "activity", "start_s", "end_s", "op")
close = {"rel": 1e-12, "abs": 0.0}


@given(traces(), hardwares())
@settings(max_examples=300)
def test_what_holds_for_every_timeline(
    tmp_path_factory: pytest.TempPathFactory, trace: Trace, hardware: Hardware
) -> None:
    """Most of the time goes into drawing, so that all is looked at of the same trace."""
    slow, t = SlowSimulator(trace, hardware), trace.timeline(hardware)
    every_op_is_where_the_slow_simulator_has_it(slow, t)
    sums_are_those_of_the_slow_simulator(slow, t)
    a_rank_is_never_idle_before_its_last_op(t)
    nothing_overlaps_on_a_track_or_a_stream(t)
    every_dependency_is_kept(trace, t)
    the_critical_path_is_the_makespan(t)
    twice_the_costs_is_twice_the_time_to_the_last_bit(t, trace.timeline(half_as_fast(hardware)))
    trace.save(path := Path(tmp_path_factory.getbasetemp()) / "drawn.json")
    these_are_the_same_bits(t, Trace.load(path).timeline(hardware))


def every_op_is_where_the_slow_simulator_has_it(slow: SlowSimulator, t: Timeline) -> None:
    assert list(t.spans) == expected_spans(slow)
    assert t.makespan_s == slow.makespan_s


def sums_are_those_of_the_slow_simulator(slow: SlowSimulator, t: Timeline) -> None:
    for rank, ops in enumerate(slow.seen):
        held_s = fsum(seen.held_s for seen in ops)
        assert t.compute_by_rank_s[rank] == pytest.approx(fsum(seen.computes_s for seen in ops), **close)
        assert t.exposed_comm_by_rank_s[rank] + t.waiting_by_rank_s[rank] == pytest.approx(held_s, rel=1e-12, abs=1e-15)
        assert t.idle_by_rank_s[rank] == pytest.approx(slow.makespan_s - slow.ends_s(rank), abs=1e-12 * t.makespan_s)
    busy_s = fsum(seen.computes_s for ops in slow.seen for seen in ops)
    bubble = 1 - busy_s / (len(slow.seen) * slow.makespan_s) if slow.makespan_s else 0
    assert t.bubble_fraction == pytest.approx(bubble, abs=1e-12)
    assert t.exposed_comm_s == pytest.approx(fsum(t.exposed_comm_by_rank_s) / t.world_size, **close)


def a_rank_is_never_idle_before_its_last_op(t: Timeline) -> None:
    for rank in range(t.world_size):
        own = t.lane(rank, "own")
        assert [span.start_s for span in own] == [0.0, *(span.end_s for span in own)][: len(own)]


def nothing_overlaps_on_a_track_or_a_stream(t: Timeline) -> None:
    for (_, lane, track), spans in groupby(t.spans, lambda span: (span.rank, span.lane, span.track)):
        assert lane == "wire" or track == 0
        assert all(before.end_s <= after.start_s for before, after in pairwise(spans))
    program, times = t.prediction.lowered.program, t.prediction.times
    for first, last in pairwise(program.first.tolist()):
        starts_s, ends_s = times.start_s[first:last], times.end_s[first:last]
        assert (ends_s[:-1] <= starts_s[1:]).all()


def every_dependency_is_kept(trace: Trace, t: Timeline) -> None:
    ops, wire = list(trace), wire_times(t)
    sides: dict[tuple, list[int]] = {}
    for number in wire:
        sides.setdefault(meeting_key(ops[number]), []).append(number)
    for numbers in sides.values():
        issued_s, starts_s, ends_s = zip(*(wire[number] for number in numbers), strict=True)
        assert len(set(starts_s)) == len(set(ends_s)) == 1 and max(issued_s) <= starts_s[0] <= ends_s[0]
    for before, after in pairwise(sorted(sides)):
        if before[:-1] == after[:-1]:
            assert wire[sides[before][0]][2] <= wire[sides[after][0]][1]
    for number, left_s in left_times(t).items():
        blocks_on = blocked_on(trace, number)
        assert blocks_on is None or wire[blocks_on][2] <= left_s


def wire_times(t: Timeline) -> dict[int, tuple[float, float, float]]:
    """Number of an op on the wire → when its rank had issued it, and its start and end on the wire."""
    start_s, end_s = t.prediction.times.start_s, t.prediction.times.end_s
    rows = t.prediction.lowered.wire.tolist()
    return {op: (end_s[issue], start_s[node], end_s[node]) for _, issue, node, op in rows}


def left_times(t: Timeline) -> dict[int, float]:
    """Number of any op → when its rank went on: of a wait, not of what it waits for."""
    lowered, end_s = t.prediction.lowered, t.prediction.times.end_s
    return dict(zip(lowered.turn.tolist(), end_s[lowered.own[:, 1]].tolist(), strict=True))


def blocked_on(trace: Trace, number: int) -> int | None:
    """The op on the wire that this one holds its rank for."""
    op = list(trace)[number]
    if op.kind == "wait":
        return sum(map(len, trace.ops[: op.rank])) + op.of
    return None if op.kind == "compute" or op.asynchronous else number


def the_critical_path_is_the_makespan(t: Timeline) -> None:
    times, program = t.prediction.times, t.prediction.lowered.program
    path = list(times.critical_path)
    on_path = [(times.start_s[node], times.end_s[node]) for node in path]
    assert [start_s for start_s, _ in on_path] == [0.0, *(end_s for _, end_s in on_path)][: len(path)]
    assert t.makespan_s == (on_path[-1][1] if on_path else 0.0)
    assert fsum(times.cost[program.cost_class[path]]) == pytest.approx(t.makespan_s, **close)
    for before, after in pairwise(path):
        needs = program.edge_from[program.edge_first[after] : program.edge_first[after + 1]]
        assert before in needs or (before == after - 1 and program.stream[before] == program.stream[after])


FASTER: dict[str, Callable[[Hardware, float], Hardware]] = {
    "flops_per_s": lambda h, by: h.with_device(flops_per_s=h.device.flops_per_s * by),
    "memory_bytes_per_s": lambda h, by: h.with_device(memory_bytes_per_s=h.device.memory_bytes_per_s * by),
    "launch_s": lambda h, by: h.with_device(launch_s=h.device.launch_s / by),
    "issue_s": lambda h, by: h.with_device(issue_s=h.device.issue_s / by),
    "latency_s": lambda h, by: h.with_link(latency_s=h.link.latency_s / by),
    "bytes_per_s": lambda h, by: h.with_link(bytes_per_s=h.link.bytes_per_s * by),
    "across latency_s": lambda h, by: replace(h, across=quicker(h.across, by, 1)),
    "across bytes_per_s": lambda h, by: replace(h, across=quicker(h.across, 1, by)),
    "compute_scale": lambda h, by: replace(h, compute_scale=h.compute_scale / by),
    "algorithm": lambda h, by: replace(h, algorithm="best"),
}


def quicker(link: Link | None, latency: float, bandwidth: float) -> Link | None:
    return link and replace(link, latency_s=link.latency_s / latency, bytes_per_s=link.bytes_per_s * bandwidth)


@given(trace=traces(), hardware=hardwares(measured=False), by=st.floats(1, 1e3))
@settings(max_examples=60)
def test_faster_hardware_makes_no_op_later(trace: Trace, hardware: Hardware, by: float) -> None:
    before = trace.timeline(hardware).prediction.times
    for parameter, faster in FASTER.items():
        after = trace.timeline(faster(hardware, by)).prediction.times
        assert (after.start_s <= before.start_s).all() and (after.end_s <= before.end_s).all(), parameter


def twice_the_costs_is_twice_the_time_to_the_last_bit(once: Timeline, twice: Timeline) -> None:
    assert twice.makespan_s == 2 * once.makespan_s
    assert [(s.op, s.activity, s.track, s.start_s, s.end_s) for s in twice.spans] == [
        (s.op, s.activity, s.track, 2 * s.start_s, 2 * s.end_s) for s in once.spans
    ]


def half_as_fast(hardware: Hardware) -> Hardware:
    links = {"link": quicker(hardware.link, 0.5, 0.5), "across": quicker(hardware.across, 0.5, 0.5)}
    if (device := hardware.device) is None:
        return replace(hardware, **links, compute_scale=hardware.compute_scale * 2)
    rates = {"flops_per_s": device.flops_per_s / 2, "memory_bytes_per_s": device.memory_bytes_per_s / 2}
    slower = replace(device, **rates, launch_s=device.launch_s * 2, issue_s=device.issue_s * 2)
    return replace(hardware, **links, device=slower)


@given(st.data(), traces(), hardwares())
def test_ranks_with_other_numbers_do_the_same(data: st.DataObject, trace: Trace, hardware: Hardware) -> None:
    hardware = replace(hardware, ranks_per_node=None)
    new = data.draw(st.permutations(range(trace.world_size)))
    mine, other = trace.timeline(hardware), relabelled(trace, new).timeline(hardware)
    assert other.makespan_s == mine.makespan_s
    for rank in range(trace.world_size):
        for lane in ("own", "wire"):
            found, wanted = other.lane(new[rank], lane), mine.lane(rank, lane)
            assert [(s.activity, s.track, s.start_s, s.end_s) for s in found] == [
                (s.activity, s.track, s.start_s, s.end_s) for s in wanted
            ]


def relabelled(trace: Trace, new: list[int]) -> Trace:
    """Rank r of the trace is rank new[r] of the other."""
    ops: list[tuple] = [()] * trace.world_size
    for rank, mine in enumerate(trace.ops):
        ops[new[rank]] = tuple(
            replace(
                op,
                rank=new[rank],
                peer=None if op.peer is None else new[op.peer],
                ranks=tuple(sorted(new[r] for r in op.ranks)),
            )
            for op in mine
        )
    return Trace(tuple(ops))


def these_are_the_same_bits(t: Timeline, again: Timeline) -> None:
    for name in COLUMNS:
        assert getattr(again.columns, name).tobytes() == getattr(t.columns, name).tobytes()


@given(deadlocked(), hardwares())
def test_ranks_that_can_never_go_on_are_named(drawn: Deadlocked, hardware: Hardware) -> None:
    with pytest.raises(Stuck) as slow:
        SlowSimulator(drawn.trace, hardware)
    assert slow.value.ranks >= set(drawn.circle)
    named = ", ".join(map(str, sorted(slow.value.ranks)))
    with pytest.raises(ValueError, match=f"^ranks {named} wait for each other in a circle"):
        drawn.trace.timeline(hardware)


@given(lacking_a_side(), hardwares())
def test_a_partner_that_is_not_in_the_trace_is_named(drawn: Lacking, hardware: Hardware) -> None:
    with pytest.raises(ValueError, match=rf"^{drawn.name} #\d+ of rank \d+ needs rank {drawn.missing} too"):
        drawn.trace.timeline(hardware)
