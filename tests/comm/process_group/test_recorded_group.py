"""Whatever PyTorch builds on a process group gives on ours, bit for bit, what it gives on plain gloo."""

from __future__ import annotations

from collections import Counter

import group_collectives as collectives
import group_names
import group_programs as programs
import numpy as np
import pytest
from gloo_world import in_a_gloo_world

from lab_utils.ranks import RankError, Ranks
from lab_utils.timeline import Trace

F32 = 4
DDP_BYTES = sum(a * b + b for a, b in ((16, 32), (32, 32), (32, 4))) * F32
# Program → collectives that each rank must be seen to issue, at least so many times.
TRAINING = {
    programs.ddp: {"all_reduce": 3},
    programs.ddp_bucketed: {"all_reduce": 1 + 2 + 2},  # one bucket until DDP has seen the order of gradients
    programs.ddp_static_graph: {"all_reduce": 3},
    programs.ddp_bucket_views: {"all_reduce": 3},
    programs.ddp_no_sync: {"all_reduce": 1},
    programs.ddp_uneven_inputs: {"all_reduce": 8},
    programs.ddp_fp16_hook: {"all_reduce": 3},
    programs.ddp_power_sgd: {"all_reduce": 4},
    programs.zero_redundancy: {"all_reduce": 3, "broadcast": 3},
    programs.fsdp2: {"all_gather": 3, "reduce_scatter": 3},
    programs.fsdp2_bf16: {"all_gather": 3, "reduce_scatter": 3},
    programs.fsdp2_hybrid: {"all_gather": 3, "reduce_scatter": 3, "all_reduce": 3},
    programs.fsdp1: {"all_gather": 3, "reduce_scatter": 3},
    programs.tensor_parallel: {"all_reduce": 1},
    programs.dtensor_redistribute: {"all_gather": 1},
    programs.two_axes: {"all_reduce": 2},
    programs.gpipe: {},
    programs.one_f_one_b: {},
    programs.interleaved: {},
}
PLAIN = {
    collectives.plain_collectives: {
        "all_reduce": 2, "broadcast": 1, "reduce": 1, "all_gather": 1, "gather": 1, "scatter": 1,
        "reduce_scatter": 1, "barrier": 1,
    },
    collectives.single_tensor_collectives: {"all_gather": 1, "reduce_scatter": 1, "all_to_all": 3},
    collectives.asynchronous: {"all_reduce": 1, "broadcast": 1, "all_gather": 1},
    collectives.messages: {},
    collectives.objects: {"all_gather": 2, "broadcast": 2, "gather": 1, "scatter": 1},
    collectives.groups: {"all_reduce": 1, "barrier": 1},
    collectives.functional_collectives: {"all_reduce": 2, "all_gather": 3, "reduce_scatter": 3, "all_to_all": 1},
    collectives.functional_autograd: {"all_gather": 2, "reduce_scatter": 2, "all_to_all": 2},
    collectives.nn_functional: {"all_reduce": 2, "all_gather": 1},
}  # fmt: skip
SEEN = {**TRAINING, **PLAIN}


@pytest.fixture(scope="module")
def plain(ranks4: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What each rank gets on plain gloo, in the same processes: {program: result}."""
    programs_ = (*SEEN, collectives.one_by_one, group_names.known_as)
    names = [(program.__module__, program.__name__) for program in programs_]
    return in_a_gloo_world(ranks4, str(tmp_path_factory.mktemp("gloo") / "store"), names)


def assert_same(found: object, wanted: object, where: str) -> None:
    """Equal to the last bit, wherever arrays stand."""
    assert type(found) is type(wanted), where
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted, equal_nan=True), where
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted), where
        for index, (f, w) in enumerate(zip(found, wanted, strict=True)):
            assert_same(f, w, f"{where}[{index}]")
    else:
        assert found == wanted, where


def assert_agreed(trace: Trace) -> None:
    """Each collective was seen once by every member, under one name; every message has both its ends."""
    for (group, seq), sides in trace.collectives().items():
        assert sorted(side.rank for side in sides) == sorted(sides[0].ranks), (group, seq)
        assert len({(side.name, side.ranks) for side in sides}) == 1, (group, seq)
        if sides[0].name in ("all_reduce", "broadcast", "reduce", "reduce_scatter", "all_gather"):
            assert len({side.bytes for side in sides}) == 1, (group, seq)
    for key, sides in trace.messages().items():
        assert set(sides) == {"send", "recv"}, key
        assert sides["send"].bytes == sides["recv"].bytes, key
    for rank, ops in enumerate(trace.ops):
        assert all(op.rank == rank and op.issue_s <= op.done_s for op in ops)


def names_of(trace: Trace, rank: int) -> Counter:
    return Counter(op.name for op in trace.ops[rank] if op.kind == "collective")


@pytest.mark.parametrize("program", SEEN, ids=lambda program: program.__name__)
def test_gives_what_gloo_gives(program, ranks4: Ranks, plain) -> None:
    trace = ranks4.record(program)
    for rank, result in enumerate(trace.results):
        assert_same(result, plain[rank][program.__name__], f"{program.__name__} on rank {rank}")
        short = Counter(SEEN[program]) - names_of(trace, rank)
        assert not short, f"rank {rank} was not seen to issue {dict(short)}"
    assert_agreed(trace)


@pytest.mark.parametrize("async_ops", [False, True], ids=["waited", "async"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_coalesced_batch_gives_what_its_ops_give_one_by_one(device, async_ops, ranks4: Ranks, plain) -> None:
    trace = ranks4.record(collectives.coalesced, device, async_ops)
    for rank, result in enumerate(trace.results):
        assert_same(result, plain[rank]["one_by_one"], f"rank {rank}")
        assert names_of(trace, rank) == {"all_gather": 2, "reduce_scatter": 2, "all_reduce": 1}
    assert_agreed(trace)


def test_messages_can_be_coalesced(ranks4: Ranks) -> None:
    trace = ranks4.record(collectives.coalesced_messages)
    sent = ranks4.run(lambda: __import__("group_collectives").mine(4))
    for rank, (got,) in enumerate(trace.results):
        assert_same(got, sent[rank - 1], f"rank {rank}")
    assert_agreed(trace)
    assert all([op.kind for op in ops if op.kind != "compute"] == ["send", "recv", "wait", "wait"] for ops in trace.ops)


def test_an_exception_inside_the_manager_does_not_poison_what_runs_next(ranks4: Ranks) -> None:
    with pytest.raises(RankError, match="inside the manager"):
        ranks4.run(collectives.raising_inside_manager)
    assert ranks4.run(collectives.total) == [4.0] * 4


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_manager_left_open_is_closed(device, ranks4: Ranks) -> None:
    """The first all_reduce shows torch's fault: it is queued and never run. If torch mends that, so can we."""
    assert ranks4.run(collectives.caught_around_manager, device) == [[1.0, ["world"], 4.0, []]] * 4
    assert_agreed(ranks4.record(collectives.asynchronous))


def test_monitored_barrier_is_recorded(ranks4: Ranks) -> None:
    trace = ranks4.record(group_names.watched_barrier)
    assert all(names_of(trace, rank) == {"barrier": 1} for rank in range(4))
    assert_agreed(trace)


def test_a_monitored_barrier_names_who_did_not_come_and_the_next_call_works(ranks4: Ranks) -> None:
    said = ranks4.run(group_names.watched_barrier_without, 2)
    assert "Ranks 2 failed to pass monitoredBarrier in 500 ms" in said[0]
    assert "all came" not in said
    assert ranks4.run(collectives.total) == [4.0] * 4


def test_groups_are_known_by_the_backend_that_carries_them(ranks4: Ranks, plain: list[dict[str, object]]) -> None:
    assert ranks4.run(group_names.known_as) == [of_rank["known_as"] for of_rank in plain]


def test_groups_of_gloo_by_name_are_recorded(ranks4: Ranks) -> None:
    trace = ranks4.record(group_names.on_groups_of_gloo)
    assert all(names_of(trace, rank) == {"all_reduce": 1} for rank in range(4))


@pytest.mark.parametrize(
    ("program", "of_rank"),
    [
        # all_reduce twice, broadcast, reduce, all_gather, gather, scatter (its source gives 4 parts), reduce_scatter
        (collectives.plain_collectives, lambda rank: [6, 5, 4, 2, 3, 2, 8 if rank == 3 else 2, 8, 0]),
        # all_gather, reduce_scatter, all_to_all_single even and uneven, all_to_all
        (collectives.single_tensor_collectives, lambda rank: [3, 8, 4, sum((rank + i) % 3 for i in range(4)), 8]),
    ],
    ids=["lists", "single"],
)
def test_bytes_are_what_the_rank_gave(program, of_rank, ranks4: Ranks) -> None:
    for rank, ops in enumerate(ranks4.record(program).ops):
        assert [op.bytes for op in ops if op.kind == "collective"] == [F32 * count for count in of_rank(rank)]


def test_ddp_gives_its_gradients_once_a_step(ranks4: Ranks) -> None:
    for ops in ranks4.record(programs.ddp).ops:
        assert [op.bytes for op in ops if op.name == "all_reduce" and op.kind == "collective"] == [DDP_BYTES] * 3


def begin_anew() -> None:
    """As after a start: in no group, and none is counted."""
    import torch.distributed as dist

    from lab_utils.comm.process_group.membership import labels

    dist.destroy_process_group()
    labels.clear()


def test_groups_have_names_and_count_their_own_ops(ranks4: Ranks) -> None:
    ranks4.run(begin_anew)
    for rank, ops in enumerate(ranks4.record(collectives.groups).ops):
        seen = [(op.group, op.seq) for op in ops if op.kind == "collective" and op.group != "world"]
        pair = "0,1" if rank < 2 else "2,3"
        odd = [("group 1,3", 0), ("group 1,3 (2)", 0)] if rank in (1, 3) else []
        assert seen == [*odd, (f"group {pair}", 0), (f"group {pair}", 1)]


def test_a_message_from_anybody_finds_its_sender(ranks4: Ranks) -> None:
    received = [op for op in ranks4.record(collectives.messages).ops[0] if op.kind == "recv" and op.bytes == F32]
    # rank 3 is rank 0's left neighbour, and its first message was the one around the ring
    assert sorted((op.peer, op.seq) for op in received) == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 1), (3, 2)]
