"""How what a rank noted becomes ops in turn: what is left out, and what must not be."""

from __future__ import annotations

from lab_utils.comm.recorder.pending_op import NOTHING, Computing, Counts, PendingOp
from lab_utils.comm.recorder.recorded_to_trace import to_ops

SOME = Counts(flops=128, bytes=224, other_bytes=40, kernels=3)


def ops(*entries: PendingOp | Computing):
    return to_ops(0, list(entries), float)


def sum_done(at_s: float) -> PendingOp:
    return PendingOp("collective", "all_reduce", issue_s=0.0, done_s=at_s)


def inferred(op: PendingOp, at_s: float) -> PendingOp:
    wait = PendingOp("wait", op.name, of=op, issue_s=at_s)
    wait.inferred = True
    return wait


def test_computing_carries_its_counts() -> None:
    (op,) = ops(Computing("forward", 1.0, 2.0, SOME))
    assert (op.kind, op.phase, op.issue_s, op.done_s) == ("compute", "forward", 1.0, 2.0)
    assert (op.flops, op.bytes, op.other_bytes, op.kernels) == (128, 224, 40, 3)


def test_computing_without_length_stays_where_kernels_ran() -> None:
    assert ops(Computing("", 1.0, 1.0, NOTHING), Computing("", 1.0, 1.0 + 1e-7, NOTHING)) == []
    (op,) = ops(Computing("", 1.0, 1.0, SOME))
    assert (op.kernels, op.done_s - op.issue_s) == (3, 0.0)


def test_computing_begins_where_the_wait_before_it_ended() -> None:
    """The op was done on another thread's clock after this rank went on: the copies out of it still count."""
    op = sum_done(3.0)
    _, wait, copies = ops(op, inferred(op, 1.0), Computing("", 1.0, 2.5, SOME))
    assert (wait.issue_s, wait.done_s) == (1.0, 3.0)
    assert (copies.issue_s, copies.done_s, copies.kernels) == (3.0, 3.0, 3)


def test_a_wait_inside_autograd_lasts_until_its_op_is_done() -> None:
    op = sum_done(3.0)
    waited, wait = ops(op, inferred(op, 2.0))
    assert (waited.wait_s, wait.of, wait.issue_s, wait.done_s) == (2.0, 0, 2.0, 3.0)


def test_a_wait_inside_autograd_for_what_is_done_has_no_length() -> None:
    first, second = sum_done(3.0), sum_done(1.0)
    kept = ops(first, second, inferred(first, 2.0), inferred(second, 2.0))
    assert [op.wait_s for op in kept[:2]] == [2.0, None]
    assert [(op.of, op.issue_s, op.done_s) for op in kept[2:]] == [(0, 2.0, 3.0), (1, 3.0, 3.0)]
