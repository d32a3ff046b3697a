"""What is recorded of gradients on real ranks: when, how large, whether the ranks agree, which bucket, whose piece."""

from __future__ import annotations

import math

import gradient_programs as programs
import pytest
from gradient_checks import (
    CLOSE,
    assert_as_computed_alone,
    assert_buckets_hold_all_and_leave_when_ready,
    assert_pieces_make_the_whole,
    by_name,
    disagreement,
    op_of,
    recorded,
    serial,
)

from lab_utils.ranks import Ranks


def test_ddp_with_several_buckets(ranks2: Ranks) -> None:
    trace, records = recorded(ranks2, programs.ddp)
    assert [len(record.buckets) for record in records] == [2, 2]
    assert_buckets_hold_all_and_leave_when_ready(trace, records, "DDP")
    assert_as_computed_alone(records, programs.own_gradients(2))
    assert all(disagreement(g, "after") == 0 and g.kept is None for record in records for g in record.gradients)
    bytes_by_name = {g.name: g.bytes for g in records[0].gradients}
    for bucket in records[0].buckets:
        assert bucket.bytes == sum(bytes_by_name[name] for name in bucket.names)


def test_four_ranks_and_one_bucket(ranks4: Ranks) -> None:
    trace, records = recorded(ranks4, programs.ddp, 25)
    assert [len(record.buckets) for record in records] == [1] * 4
    assert_buckets_hold_all_and_leave_when_ready(trace, records, "DDP")
    assert_as_computed_alone(records, programs.own_gradients(4))


@pytest.mark.parametrize(("strategy", "op"), [("buckets", "all_reduce"), ("zero1", "reduce_scatter")])
def test_buckets_that_are_announced(ranks4: Ranks, strategy: str, op: str) -> None:
    """Each names its parameters, bytes (padded to four pieces) and op, however its tensors fit together."""
    trace, records = recorded(ranks4, programs.announced, strategy)
    for record in records:
        assert [bucket.how for bucket in record.buckets] == ["announced"] * 2
        assert [op_of(trace, record, bucket).name for bucket in record.buckets] == [op] * 2
        assert {name for bucket in record.buckets for name in bucket.names} == set(by_name(record))
        assert all(bucket.bytes % (4 * 8) == 0 for bucket in record.buckets)


def test_comparing_is_not_in_the_trace(ranks2: Ranks) -> None:
    trace, records = recorded(ranks2, programs.ddp)
    names = [[op.name for op in ops if op.kind == "collective"] for ops in trace.ops]
    assert names[0] == names[1] and names[0].count("all_reduce") == 1 + 2 + 2  # the first step had one bucket
    for record, ops in zip(records, trace.ops, strict=True):
        ended_s = record.ended_s - min(other.origin_s for other in records)
        assert [op.issue_s < ended_s for op in ops if op.kind == "collective"] == [True] * len(names[0])
        assert any(op.issue_s > ended_s for op in ops)  # the program goes on, and nothing is said of what was between


def test_a_forgotten_gradient_disagrees_after_too(ranks2: Ranks) -> None:
    trace, records = recorded(ranks2, programs.hooks_of_its_own)
    for record in records:
        gradients = by_name(record)
        forgotten = gradients.pop("2.bias")
        assert disagreement(forgotten, "after") == pytest.approx(disagreement(forgotten, "before"))
        assert forgotten.norm_after == forgotten.norm_before
        odd = gradients.pop("0.bias")
        assert math.isnan(odd.norm_before) and math.isnan(odd.norm_after) and math.isnan(disagreement(odd, "after"))
        for gradient in gradients.values():  # copied before the all-reduce in place began
            assert disagreement(gradient, "before") > 1e-3 and disagreement(gradient, "after") == 0
            assert gradient.mean_before == pytest.approx(serial(gradient.name, 2).norm().item(), rel=CLOSE)
        assert [bucket.names for bucket in record.buckets if "2.bias" in bucket.names] == []
        assert all(bucket.how == "sizes" and len(bucket.names) == 1 for bucket in record.buckets)
        assert len(record.buckets) == 7


def test_one_message_for_all(ranks2: Ranks) -> None:
    trace, records = recorded(ranks2, programs.one_message)
    assert_buckets_hold_all_and_leave_when_ready(trace, records, "sizes")
    assert_as_computed_alone(records, programs.own_gradients(2))


def test_fsdp_keeps_pieces(ranks4: Ranks) -> None:
    """Also of what is too small for four ranks: there is nothing to agree about where a rank keeps no element."""
    trace, records = recorded(ranks4, programs.fsdp, count=False)
    assert_buckets_hold_all_and_leave_when_ready(trace, records, "FSDP")
    assert_as_computed_alone(records, programs.own_gradients(4))
    assert_pieces_make_the_whole(records)
    assert all(disagreement(g, "after") is None for record in records for g in record.gradients)
    assert [by_name(record)["6.bias"].share for record in records] == [1, 0, 0, 0]


def test_zero_1_has_an_owner_for_each(ranks2: Ranks) -> None:
    _, records = recorded(ranks2, programs.zero_1)
    owners = [[gradient.owner for gradient in record.gradients] for record in records]
    assert owners[0] == owners[1] and set(owners[0]) == {0, 1}


def test_compression_is_seen_as_an_error(ranks2: Ranks) -> None:
    trace, records = recorded(ranks2, programs.compressed)
    for record in records:
        (bucket,) = record.buckets
        assert op_of(trace, record, bucket).bytes * 2 == bucket.bytes  # half went over the wire
        for gradient in record.gradients:
            assert disagreement(gradient, "after") == 0
            assert 1e-9 < abs(gradient.norm_after / gradient.mean_before - 1) < 1e-2


def test_unused_parameters_and_accumulation(ranks2: Ranks) -> None:
    _, records = recorded(ranks2, programs.accumulates_and_leaves_out)
    for record in records:
        gradients = by_name(record)
        unused = gradients.pop("6.bias")
        assert unused.ready_s == () and unused.norm_before is None and unused.norm_after is None
        for gradient in gradients.values():
            assert len(gradient.ready_s) == 2 and gradient.ready_s[0] < gradient.ready_s[1]


def test_it_is_asked_for_after_the_block(ranks2: Ranks) -> None:
    said = "the gradients are compared when the `with gradient_flow(...)` block ends: ask after it"
    assert ranks2.run(programs.asks_too_early) == [said] * 2


def test_without_a_recording_there_are_times_but_no_ops(ranks2: Ranks) -> None:
    for record, _ in ranks2.run(programs.ddp):
        assert record.origin_s is None and all(bucket.op is None for bucket in record.buckets)
        assert all(gradient.ready_s and disagreement(gradient, "after") == 0 for gradient in record.gradients)
