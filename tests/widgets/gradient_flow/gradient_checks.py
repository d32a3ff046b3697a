"""What tests of gradients on real ranks share: records against the gradients that one process computes by itself."""

from __future__ import annotations

import gradient_programs as programs
import pytest
import torch
from torch import Tensor

from lab_utils.ranks import Ranks
from lab_utils.timeline import Trace
from lab_utils.widgets.gradient_flow.record import FlowRecord, Gradient, Piece, ratio

CLOSE = 1e-12  # float64


def recorded(ranks: Ranks, program, *args, **options) -> tuple[Trace, list[FlowRecord]]:
    """The trace, and each rank's record. What the program computed is the same as without a recording."""
    trace = ranks.record(program, *args, **options)
    records, same = zip(*trace.results, strict=True)
    assert all(same)
    return trace, list(records)


def by_name(record: FlowRecord) -> dict[str, Gradient]:
    return {gradient.name: gradient for gradient in record.gradients}


def disagreement(gradient: Gradient, when: str) -> float | None:
    """‖own − mean‖ / ‖mean‖ over the ranks that hold the same piece, "before" or "after" the reduction."""
    return ratio(getattr(gradient, f"spread_{when}"), getattr(gradient, f"mean_{when}"))


def op_of(trace: Trace, record: FlowRecord, bucket):
    """The bucket's op on that rank."""
    (op,) = (op for op in trace.collectives()[bucket.op] if op.rank == record.rank)
    return op


def on_rank_clock(records: list[FlowRecord], at_s: float) -> float:
    """A time of the trace on the ranks' own clock: the trace begins when the first rank's recording did."""
    return at_s + min(record.origin_s for record in records)


def assert_buckets_hold_all_and_leave_when_ready(trace: Trace, records: list[FlowRecord], how: str) -> None:
    for record in records:
        gradients = by_name(record)
        joined = [name for bucket in record.buckets for name in bucket.names]
        assert sorted(joined) == sorted(gradients)  # every one in exactly one bucket
        for bucket in record.buckets:
            op = op_of(trace, record, bucket)
            assert bucket.how == how and op.bytes == bucket.bytes
            issue_s = on_rank_clock(records, op.issue_s)
            for name in bucket.names:
                assert record.began_s < gradients[name].ready_s[-1] < issue_s + 1e-6
            assert issue_s < record.ended_s and op.issue_s <= op.done_s


def assert_as_computed_alone(records: list[FlowRecord], own: dict[str, list[Tensor]]) -> None:
    """Every number of the record against the ranks' gradients as one process computes them: own[name][rank], float64.

    Before, a rank has its own gradient; after, the mean of all, or its piece of it.
    """
    for record in records:
        assert sorted(by_name(record)) == sorted(own)
        for name, found in by_name(record).items():
            mine, mean = own[name][record.rank], torch.stack(own[name]).mean(0)
            assert found.shape == tuple(mean.shape) and found.bytes == mine.nbytes
            assert found.norm_before == pytest.approx(mine.norm().item(), rel=CLOSE)
            assert found.mean_before == pytest.approx(mean.norm().item(), rel=CLOSE)
            apart = ((mine - mean).norm() / mean.norm()).item()
            assert apart > 1e-3 and disagreement(found, "before") == pytest.approx(apart, rel=1e-9)
            assert found.norm_after == pytest.approx(boxed(mean, found.kept).norm().item(), rel=CLOSE)


def boxed(tensor: Tensor, piece: Piece | None) -> Tensor:
    if piece is None:
        return tensor
    return tensor[tuple(slice(at, at + size) for at, size in zip(piece.offset, piece.shape, strict=True))]


def assert_pieces_make_the_whole(records: list[FlowRecord], times: int = 1) -> None:
    """Each element of each gradient is kept so many times."""
    for name in by_name(records[0]):
        found = [by_name(record)[name] for record in records]
        count = torch.zeros(found[0].shape)
        for gradient in found:
            boxed(count, gradient.kept).add_(1)
        assert bool((count == times).all())


def serial(name: str, parts: int = 1) -> Tensor:
    """The gradient of the whole batch, computed in `parts` equal parts."""
    return torch.stack(programs.own_gradients(parts)[name]).mean(0)
