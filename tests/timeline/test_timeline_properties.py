"""What holds for a measured timeline whatever the clocks said."""

from __future__ import annotations

from itertools import groupby, pairwise
from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timeline_samples import trace

from lab_utils.timeline import Op, Trace

# Any readings of the clocks, consistent or not, partners missing or not, waits in any place. Sixty-fourths
# are exact in binary, so ties are common, and adding whole seconds rounds nothing.
moments = st.integers(0, 64).map(lambda n: n / 64)


@st.composite
def rank_ops(draw: st.DrawFn, rank: int, ranks: int) -> list[Op]:
    ops: list[Op] = []
    for number in range(draw(st.integers(0, 8))):
        issue_s = draw(moments)
        done_s = draw(st.none() | moments.map(lambda more, at=issue_s: at + more))
        wait_s = draw(st.none() | moments)
        kind = draw(st.sampled_from(["compute", "collective", "send", "recv", "wait"]))
        peer = draw(st.integers(0, ranks - 1)) if kind in ("send", "recv") else None
        members = tuple(range(ranks)) if kind == "collective" else ()
        targets = [n for n, op in enumerate(ops) if op.kind not in ("compute", "wait")]
        if kind == "wait" and not targets:
            continue
        of = draw(st.sampled_from(targets)) if kind == "wait" else None
        ops.append(
            Op(rank, kind, kind, "world", members, number // 3, draw(st.integers(0, 10**9)), peer=peer, of=of,
               issue_s=issue_s, wait_s=wait_s, done_s=done_s)
        )  # fmt: skip
    return ops


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    ranks = draw(st.integers(1, 4))
    return trace(*(draw(rank_ops(rank, ranks)) for rank in range(ranks)))


@given(traces())
def test_spans_of_a_track_never_overlap(recorded: Trace) -> None:
    spans = recorded.timeline().spans
    for _, track in groupby(spans, lambda s: (s.rank, s.lane, s.track)):
        for before, after in pairwise(track):
            assert before.end_s <= after.start_s
    assert all(span.duration_s > 0 for span in spans)


@given(traces())
def test_the_parts_of_a_rank_add_up_to_the_makespan(recorded: Trace) -> None:
    t = recorded.timeline()
    parts = zip(t.compute_by_rank_s, t.exposed_comm_by_rank_s, t.waiting_by_rank_s, t.idle_by_rank_s, strict=True)
    for rank_parts in parts:
        assert fsum(rank_parts) == pytest.approx(t.makespan_s)
        assert min(rank_parts) >= 0
    assert 0 <= t.bubble_fraction <= 1
    assert t.bubble_fraction + t.utilisation == pytest.approx(1 if t.makespan_s else 0)
    assert all(t.start_s <= span.start_s and span.end_s <= t.start_s + t.makespan_s + 1e-12 for span in t.spans)


@given(traces())
def test_the_wire_carries_every_op_from_its_issue_until_it_is_done(recorded: Trace) -> None:
    t = recorded.timeline()
    for rank, ops in enumerate(recorded.ops):
        on_wire = fsum(span.duration_s for span in t.lane(rank, "wire"))
        end_s = max((x for op in recorded for x in (op.issue_s, op.wait_s, op.done_s) if x is not None), default=0)
        lasting = (end_s if op.done_s is None else op.done_s for op in ops)
        expected = fsum(
            done_s - op.issue_s
            for op, done_s in zip(ops, lasting, strict=True)
            if op.kind in ("collective", "send", "recv")
        )
        assert on_wire == pytest.approx(expected)


@given(traces(), st.integers(1, 64))
@settings(max_examples=50)
def test_a_timeline_does_not_depend_on_when_the_clock_began(recorded: Trace, zero: int) -> None:
    moved = Trace.from_ranks(
        [
            [Op(**{**{name: getattr(op, name) for name in Op.__slots__}, **_moved(op, zero)}) for op in ops]
            for ops in recorded.ops
        ],
        [],
        [],
    )
    mine, other = recorded.timeline(), moved.timeline()
    assert other.makespan_s == mine.makespan_s
    assert [(s.lane, s.activity, s.track, s.duration_s) for s in other.spans] == [
        (s.lane, s.activity, s.track, s.duration_s) for s in mine.spans
    ]


def _moved(op: Op, by_s: float) -> dict[str, float | None]:
    names = ("issue_s", "wait_s", "done_s")
    return {name: None if getattr(op, name) is None else getattr(op, name) + by_s for name in names}
