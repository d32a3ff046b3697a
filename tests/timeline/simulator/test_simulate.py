"""Predicted timelines that a person can check by hand: who waits for whom, what costs what, and what is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from slow_costs import alpha_beta_s
from timeline_samples import ddp
from trace_writer import TraceWriter

from lab_utils.timeline import Op, Phase, Trace
from lab_utils.timeline.hardware import Device, Hardware, Link
from lab_utils.timeline.simulator.simulate import simulate

# A kernel of 1 FLOP, a byte in memory, a byte on the wire and a round on the wire take a second each.
UNIT = Hardware(Device("unit", 1.0, 1.0), Link("unit", 1.0, 1.0), algorithm="ring")
BOTH = (0, 1)

Row = tuple[str, float, float]


def rows(t, rank: int, lane: str = "own") -> list[Row]:
    return [(span.activity, span.start_s, span.end_s) for span in t.lane(rank, lane)]


def test_a_collective_starts_when_the_last_member_has_come() -> None:
    program = TraceWriter(2)
    program.compute(0, flops=1)
    program.compute(1, flops=3)
    program.collective("all_reduce", "world", BOTH, 4)  # 2 rounds, 4 bytes: 6 s
    t = simulate(program.trace(), UNIT)
    assert rows(t, 0) == [("compute", 0, 1), ("waiting", 1, 3), ("communication", 3, 9)]
    assert rows(t, 1) == [("compute", 0, 3), ("communication", 3, 9)]
    assert (t.makespan_s, t.exposed_comm_s, t.waiting_by_rank_s, t.kind) == (9, 6, (2, 0), "predicted")


def test_an_asynchronous_op_blocks_only_at_its_wait() -> None:
    program = TraceWriter(2)
    works = program.collective("all_reduce", "world", BOTH, 4, asynchronous=BOTH)
    for rank in BOTH:
        program.compute(rank, flops=(4, 8)[rank])
        program.wait(works[rank])
    t = simulate(program.trace(), UNIT)
    assert rows(t, 0) == [("compute", 0, 4), ("communication", 4, 6)]
    assert rows(t, 1) == [("compute", 0, 8)]
    assert rows(t, 1, "wire") == [("communication", 0, 6)]
    assert t.idle_by_rank_s == (2, 0)


def test_an_op_that_nobody_waits_for_still_takes_its_time() -> None:
    program = TraceWriter(2)
    program.collective("all_reduce", "world", BOTH, 4, asynchronous=BOTH)
    assert simulate(program.trace(), UNIT).makespan_s == 6


def test_a_group_does_one_collective_at_a_time_and_groups_go_side_by_side() -> None:
    program = TraceWriter(2)
    for group in ("a", "a", "b"):
        program.collective("all_reduce", group, BOTH, 4, asynchronous=BOTH)
    t = simulate(program.trace(), UNIT)
    spans = [(s.op.group, s.op.seq, s.track, s.activity, s.start_s, s.end_s) for s in t.lane(0, "wire")]
    assert spans == [
        ("a", 0, 0, "communication", 0, 6), ("a", 1, 1, "waiting", 0, 6), ("a", 1, 1, "communication", 6, 12),
        ("b", 0, 2, "communication", 0, 6),
    ]  # fmt: skip


@pytest.mark.parametrize(("tags", "received_s"), [((0, 1), [5, 5]), ((0, 0), [5, 9])])
def test_messages_match_by_order_and_tag(tags: tuple[int, int], received_s: list[float]) -> None:
    """4 bytes, then 3, which take 5 s and 4 s: one after the other only where they share a tag."""
    program = TraceWriter(2)
    for tag, size_bytes in zip(tags, (4, 3), strict=True):
        program.message("send", 0, 1, size_bytes, tag, asynchronous=True)
    wanted = [
        program.message("recv", 1, 0, size, tag, asynchronous=True) for tag, size in zip(tags, (4, 3), strict=True)
    ]
    for work in wanted:
        program.wait(work)
    t = simulate(program.trace(), UNIT)
    ends = {span.op.bytes: span.end_s for span in t.lane(1, "wire")}
    assert [ends[4], max(ends.values())] == received_s


def test_a_tag_may_overtake_another() -> None:
    """Rank 1 receives the second message first: it waits for that one alone."""
    program = TraceWriter(2)
    program.message("send", 0, 1, 1, tag=0, asynchronous=True)
    program.compute(0, flops=7)
    program.message("send", 0, 1, 2, tag=1)
    program.message("recv", 1, 0, 2, tag=1)
    program.message("recv", 1, 0, 1, tag=0)
    t = simulate(program.trace(), UNIT)
    assert rows(t, 1) == [("waiting", 0, 7), ("communication", 7, 10), ("communication", 10, 12)]


def test_a_send_blocks_until_its_receiver_has_come() -> None:
    program = TraceWriter(2)
    program.message("send", 0, 1, 3)
    program.compute(1, flops=5)
    program.message("recv", 1, 0, 3)
    t = simulate(program.trace(), UNIT)
    assert rows(t, 0) == [("waiting", 0, 5), ("communication", 5, 9)]


def test_handing_an_op_over_takes_time() -> None:
    program = TraceWriter(2)
    works = program.collective("all_reduce", "world", BOTH, 4, asynchronous=BOTH)
    program.wait(works[0])
    t = simulate(program.trace(), UNIT.with_device(issue_s=0.5))
    assert rows(t, 0) == [("communication", 0, 0.5), ("communication", 0.5, 6.5)]
    assert rows(t, 0, "wire") == [("communication", 0.5, 6.5)]


@pytest.mark.parametrize(
    ("counts", "wanted_s"),
    [
        ({"flops": 60, "bytes": 5}, 6.0),  # the roofline's flat part
        ({"flops": 60, "bytes": 50}, 10.0),  # its slope
        ({"flops": 60, "bytes": 50, "other_bytes": 5}, 11.0),
        ({"flops": 60, "kernels": 8}, 6.0 + 8 * 0.25),
        ({"kernels": 4}, 1.0),
    ],
)
def test_computing_by_the_roofline(counts: dict[str, int], wanted_s: float) -> None:
    program = TraceWriter(1)
    program.compute(0, **{"kernels": 0, "measured_s": 77.0, **counts})
    program.compute(0, kernels=1, flops=0)
    hardware = Hardware(Device("d", 10.0, 5.0, launch_s=0.25), Link("l", 0.0, 1.0))
    t = simulate(program.trace(), hardware)
    assert t.makespan_s == wanted_s + 0.25
    assert simulate(program.trace(), replace(hardware, compute_scale=3.0)).makespan_s == 3 * t.makespan_s


def test_computing_as_long_as_it_was_measured() -> None:
    program = TraceWriter(1)
    program.compute(0, measured_s=1.5, flops=10**12)
    assert simulate(program.trace(), replace(UNIT, device=None, compute_scale=2.0)).makespan_s == 3


TEN = Hardware(None, Link("inside", 1.0, 10.0))
NODES = replace(TEN, ranks_per_node=2, across=Link("across", 100.0, 1.0))
# name, ranks, bytes, algorithm, seconds within a node, seconds with nodes of 2
WIRES = [
    ("all_reduce", 4, 40, "ring", 6 + 6.0, 600 + 60.0),
    ("all_reduce", 4, 40, "tree", 4 + 16.0, 400 + 160.0),
    ("all_reduce", 4, 40, "two_level", 6 + 6.0, (2 + 4) + (200 + 20.0)),
    ("all_reduce", 4, 40, "rings", 6 + 6.0, 600 + 30.0),
    ("all_reduce", 4, 40, "best", 12.0, 226.0),
    ("all_reduce", 3, 30, "tree", 4 + 12.0, 400 + 120.0),
    ("reduce_scatter", 4, 40, "ring", 3 + 3.0, 300 + 30.0),
    ("reduce_scatter", 4, 40, "two_level", 3 + 3.0, (1 + 2) + (100 + 10.0)),
    ("reduce_scatter", 4, 40, "rings", 3 + 3.0, 300 + 15.0),
    ("reduce_scatter", 4, 40, "gloo", 6 + 6.0, 600 + 60.0),
    ("broadcast", 4, 40, "gloo", 2 + 8.0, 200 + 80.0),
    ("all_gather", 4, 10, "ring", 3 + 3.0, 300 + 30.0),
    ("broadcast", 4, 40, "ring", 6 + 6.0, 600 + 60.0),
    ("broadcast", 4, 40, "tree", 2 + 8.0, 200 + 80.0),
    ("reduce", 4, 40, "two_level", 10.0, 280.0),
    ("all_to_all", 4, 40, "best", 3 + 3.0, 300 + 30.0),
    ("gather", 4, 10, "best", 3 + 3.0, 300 + 30.0),
    ("scatter", 4, 40, "best", 3 + 3.0, 300 + 30.0),
    ("barrier", 4, 0, "best", 4.0, 400.0),
    ("all_reduce", 1, 40, "best", 0.0, 0.0),
]


@pytest.mark.parametrize(("name", "ranks", "size_bytes", "algorithm", "inside_s", "across_s"), WIRES)
def test_alpha_beta_of(name, ranks: int, size_bytes: int, algorithm, inside_s: float, across_s: float) -> None:
    """By the simulator, by hand, and by the tests' own formulas, which the random programs are compared with."""
    program = TraceWriter(ranks)
    program.collective(name, "world", range(ranks), size_bytes)
    whole = size_bytes * ranks if name in ("all_gather", "gather") else size_bytes
    for hardware, wanted_s in ((TEN, inside_s), (NODES, across_s)):
        chosen = replace(hardware, algorithm=algorithm)
        assert simulate(program.trace(), chosen).makespan_s == pytest.approx(wanted_s, rel=1e-12)
        assert alpha_beta_s(name, whole, set(range(ranks)), chosen) == pytest.approx(wanted_s, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "ranks", "size_bytes", "per_node", "wanted_s"),
    [
        ("all_reduce", 4, 40, 2, 600 + 30 / 0.5),  # half of 60 bytes
        ("reduce_scatter", 4, 40, 2, 300 + 15 / 0.5),
        ("all_reduce", 3, 30, 2, 400 + 40 / 0.5),  # one ring; rank 0 has no hop across
        ("all_reduce", 4, 40, 1, 600 + 60.0),  # no hop inside
    ],
)
def test_a_ring_per_nic_with_slow_links_inside(name, ranks: int, size_bytes: int, per_node: int, wanted_s) -> None:
    program = TraceWriter(ranks)
    program.collective(name, "world", range(ranks), size_bytes)
    slow = replace(NODES, link=Link("inside", 1.0, 0.5), ranks_per_node=per_node, algorithm="rings")
    assert simulate(program.trace(), slow).makespan_s == pytest.approx(wanted_s, rel=1e-12)
    assert alpha_beta_s(name, size_bytes, set(range(ranks)), slow) == pytest.approx(wanted_s, rel=1e-12)


def test_recorded_phases_move_with_their_ops() -> None:
    t = ddp(ranks=2, buckets=2).timeline(Hardware(None, Link("l", 0.0, float(25 << 20)), compute_scale=1000))
    assert [(p.name, round(p.start_s, 9), round(p.end_s, 9)) for p in t.phases[0]] == [
        ("forward", 0, 4), ("backward", 4, 9.2), ("aggregate", 9.2, 10.568), ("update", 10.568, 11.968),
    ]  # fmt: skip
    assert t.phases[1][0] == Phase(1, "forward", 0.0, 4 * 1.04)


def test_a_partner_that_is_not_in_the_trace() -> None:
    program = TraceWriter(3)
    program.collective("all_reduce", "world", (0, 1, 2), 4)
    lacking = Trace((*program.trace().ops[:2], ()))
    with pytest.raises(ValueError, match="^all_reduce #0 of rank 0 needs rank 2 too, whose side is not in the trace"):
        simulate(lacking, UNIT)


def test_a_wait_for_an_op_from_before_the_trace() -> None:
    waits = Trace(((Op(0, "wait", "wait", source="train.py:3"),),))
    with pytest.raises(ValueError, match=r"^rank 0 waits \(train.py:3\) for an op that was issued before the trace"):
        simulate(waits, UNIT)


def test_a_wait_for_computing() -> None:
    program = TraceWriter(1)
    program.wait(program.compute(0, flops=1))
    with pytest.raises(ValueError, match="^a wait of rank 0 is for op 0, which is no communication op"):
        simulate(program.trace(), UNIT)


def test_an_op_of_unknown_cost() -> None:
    program = TraceWriter(2)
    program.collective("all_reduce_by_pigeon", "world", BOTH, 4)
    with pytest.raises(ValueError, match="^how long all_reduce_by_pigeon takes is not known: known are all_gather, "):
        simulate(program.trace(), UNIT)


def test_computing_that_was_not_counted() -> None:
    program = TraceWriter(1)
    program.compute(0, measured_s=1.5, kernels=0)
    with pytest.raises(ValueError, match=r"^1\.5 s of computing were recorded without counting kernels"):
        simulate(program.trace(), UNIT)


def test_computing_in_which_no_kernel_ran_takes_no_time() -> None:
    op = Op(0, "compute", "compute", issue_s=0.0, done_s=1.5, live_bytes=0)
    assert simulate(Trace(((op,),)), UNIT).makespan_s == 0.0
    unknown = simulate(Trace(((replace(op, uncounted=3),),)), UNIT)
    assert str(unknown).splitlines()[-1] == "Left out: 3 kernels that could not be counted"


HASHED = """
import hashlib
from timeline_samples import ddp
from lab_utils.timeline.hardware import Hardware, Link
c = ddp(4, 3, 2).timeline(Hardware(None, Link("l", 3e-6, 7e9))).columns
print(hashlib.sha256(b"".join(getattr(c, name).tobytes() for name in c.__slots__)).hexdigest())
"""


def test_another_process_gives_the_same_bits() -> None:
    c = ddp(4, 3, 2).timeline(Hardware(None, Link("l", 3e-6, 7e9))).columns
    mine = hashlib.sha256(b"".join(getattr(c, name).tobytes() for name in c.__slots__)).hexdigest()
    other_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": other_seed}
    run = subprocess.run([sys.executable, "-c", HASHED], env=there, capture_output=True, encoding="utf-8", check=True)
    assert run.stdout.strip() == mine
