"""Measured timelines against hand-worked numbers."""

from __future__ import annotations

import pytest
from timeline_samples import all_reduce, compute, ddp, message, ring_all_reduce, trace, wait

from lab_utils.text import bytes_text, flops_text, percent_text, time_text
from lab_utils.timeline import Op, Phase, Span, Timeline, Trace, message_rounds


def lane(timeline: Timeline, rank: int, name: str = "own") -> list[tuple[str, float, float]]:
    return [(span.activity, span.start_s, span.end_s) for span in timeline.lane(rank, name)]


def late_partner() -> Timeline:
    """Rank 0 is ready after 1 s, rank 1 after 3 s, and the all-reduce takes 1 s."""
    return trace(
        [compute(0, 0, 1), all_reduce(0, 0, 1, 1, 4)], [compute(1, 0, 3), all_reduce(1, 0, 3, 3, 4)]
    ).timeline()


def test_a_late_partner_makes_waiting_and_then_communication() -> None:
    t = late_partner()
    assert lane(t, 0) == [("compute", 0, 1), ("waiting", 1, 3), ("communication", 3, 4)]
    assert lane(t, 1) == [("compute", 0, 3), ("communication", 3, 4)]
    assert lane(t, 0, "wire") == [("waiting", 1, 3), ("communication", 3, 4)]
    assert lane(t, 1, "wire") == [("communication", 3, 4)]


def test_the_numbers_of_a_late_partner() -> None:
    t = late_partner()
    assert (t.makespan_s, t.bubble_fraction, t.utilisation, t.exposed_comm_s) == (4, 0.5, 0.5, 1)
    assert t.compute_by_rank_s == (1, 3)
    assert t.waiting_by_rank_s == (2, 0)
    assert t.exposed_comm_by_rank_s == (1, 1)
    assert t.idle_by_rank_s == (0, 0)
    assert t.kind == "measured"


def test_an_asynchronous_op_is_exposed_only_where_it_is_waited_for() -> None:
    ops = [all_reduce(0, 0, 1, 3, 5, asynchronous=True), compute(0, 1, 3), wait(0, 0, 3, 5)]
    other = [all_reduce(1, 0, 2, 2, 5)]
    t = trace(ops, other).timeline()
    assert lane(t, 0) == [("compute", 1, 3), ("communication", 3, 5)]
    assert lane(t, 0, "wire") == [("waiting", 1, 2), ("communication", 2, 5)]
    assert lane(t, 1) == [("communication", 2, 5)]


def test_an_asynchronous_op_may_be_blocked_on_without_a_wait_op() -> None:
    ops = [all_reduce(0, 0, 0, 2, 3, ranks=(0,), asynchronous=True), compute(0, 0, 2)]
    assert lane(trace(ops).timeline(), 0) == [("compute", 0, 2), ("communication", 2, 3)]


def test_where_there_is_a_wait_op_it_says_when_the_rank_was_blocked() -> None:
    ops = [all_reduce(0, 0, 0, 1, 3, ranks=(0,), asynchronous=True), compute(0, 0, 2), wait(0, 0, 2, 3)]
    assert lane(trace(ops).timeline(), 0) == [("compute", 0, 2), ("communication", 2, 3)]


def test_an_asynchronous_op_that_nobody_waits_for_is_on_the_wire_only() -> None:
    ops = [all_reduce(0, 0, 0, None, 3, ranks=(0,), asynchronous=True), compute(0, 0, 2)]
    t = trace(ops).timeline()
    assert lane(t, 0) == [("compute", 0, 2)]
    assert lane(t, 0, "wire") == [("communication", 0, 3)]
    assert t.idle_by_rank_s == (1,)


def test_a_receiver_waits_for_its_sender() -> None:
    t = trace([message("send", 0, 1, 0, (2, 2, 3))], [message("recv", 1, 0, 0, (0, 0.5, 3))]).timeline()
    assert lane(t, 0) == [("communication", 2, 3)]
    assert lane(t, 1) == lane(t, 1, "wire") == [("waiting", 0, 2), ("communication", 2, 3)]
    assert t.idle_by_rank_s == (2, 0)


def test_handing_an_asynchronous_op_over_holds_the_rank() -> None:
    ops = [all_reduce(0, 0, 0, 2, 4, asynchronous=True), compute(0, 1, 2), wait(0, 0, 2, 4), compute(0, 4, 5)]
    t = trace(ops, [all_reduce(1, 0, 0.5, 0.5, 4)]).timeline()
    assert lane(t, 0) == [
        ("waiting", 0, 0.5),
        ("communication", 0.5, 1),
        ("compute", 1, 2),
        ("communication", 2, 4),
        ("compute", 4, 5),
    ]
    late = trace([all_reduce(0, 0, 0, None, 1, (0,), asynchronous=True), compute(0, 3, 4)]).timeline()
    assert lane(late, 0) == [("communication", 0, 1), ("compute", 3, 4)]


def test_a_partner_that_comes_after_the_op_is_done_held_nobody_up() -> None:
    sent, received = message("send", 0, 1, 0, (0, 0, 1)), message("recv", 1, 0, 0, (2, 2, 2.5))
    t = trace([sent], [received]).timeline()
    assert lane(t, 0) == [("communication", 0, 1)]
    assert lane(t, 1) == [("communication", 2, 2.5)]
    root, leaf = all_reduce(0, 0, 0, 0, 1), all_reduce(1, 0, 5, 5, 6)
    assert lane(trace([root], [leaf]).timeline(), 0) == [("communication", 0, 1)]


def test_without_its_partner_in_the_trace_an_op_only_waits() -> None:
    t = trace([all_reduce(0, 0, 0, 0, 2)], [message("recv", 1, 0, 0, (1, 1, 2))]).timeline()
    assert lane(t, 0) == lane(t, 0, "wire") == [("waiting", 0, 2)]
    assert lane(t, 1) == [("waiting", 1, 2)]


def test_an_op_that_never_completes_lasts_until_the_trace_ends() -> None:
    t = trace([all_reduce(0, 0, 1, 1, None)], [compute(1, 0, 5)]).timeline()
    assert lane(t, 0) == [("waiting", 1, 5)]


def test_collectives_of_other_groups_and_numbers_are_other_collectives() -> None:
    def member(rank: int, group: str, seq: int, issue_s: float) -> Op:
        return Op(rank, "collective", "barrier", group, (0, 1), seq, issue_s=issue_s, wait_s=issue_s, done_s=9)

    t = trace([member(0, "a", 0, 1)], [member(1, "b", 0, 2), member(1, "a", 1, 3), member(1, "a", 0, 4)]).timeline()
    assert lane(t, 0) == [("waiting", 1, 4), ("communication", 4, 9)]


def test_ops_on_the_wire_at_the_same_time_take_tracks() -> None:
    sends = [message("send", 0, 1, n, (start, None, end)) for n, (start, end) in enumerate([(0, 4), (1, 2), (3, 5)])]
    receives = [message("recv", 1, 0, n, (0, None, 5)) for n in range(3)]
    t = trace(sends, receives).timeline()
    assert [(s.op.seq, s.track) for s in t.lane(0, "wire")] == [(0, 0), (1, 1), (2, 1)]
    assert {s.track for s in t.lane(1, "wire")} == {0, 1, 2}


def test_clocks_that_cross_do_not_make_spans_overlap() -> None:
    t = trace([compute(0, 0, 1.5), all_reduce(0, 0, 1, 1, 2, ranks=(0,)), compute(0, 1.75, 3)]).timeline()
    assert lane(t, 0) == [("compute", 0, 1.5), ("communication", 1.5, 2), ("compute", 2, 3)]


def test_phases_count_in_the_makespan() -> None:
    phases = ((Phase(0, "step", 0, 4),),)
    t = Trace(((compute(0, 1, 3),),), phases).timeline()
    assert (t.start_s, t.makespan_s, t.bubble_fraction, t.phases) == (0, 4, 0.5, phases)


def test_a_trace_without_times_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match=r"op 'send' of rank 0 carries no time.*ranks\.record"):
        ring_all_reduce(3, round_s=None).timeline()


@pytest.mark.parametrize("of", [-1, 1, 7, 0])
def test_a_wait_must_wait_for_a_communication_op(of: int) -> None:
    ops = [compute(0, 0, 1), wait(0, of, 1, 2)]
    with pytest.raises(ValueError, match=f"wait of rank 0 is for op {of}, .* among the 2 ops"):
        trace(ops).timeline()


def test_a_wait_for_an_op_from_before_the_trace_is_waiting() -> None:
    assert lane(trace([compute(0, 0, 1), wait(0, None, 1, 2)]).timeline(), 0)[1:] == [("waiting", 1, 2)]
    assert message_rounds(trace([wait(0, None, 1, 2)])) == 0


def test_an_empty_trace_has_an_empty_timeline() -> None:
    t = trace([], []).timeline()
    assert (t.makespan_s, t.bubble_fraction, t.exposed_comm_s, t.spans) == (0, 0, 0, ())
    assert trace().timeline().exposed_comm_s == 0


def test_a_timeline_rejects_spans_that_overlap_or_run_backwards() -> None:
    op = compute(0, 0, 2)
    first = Span(0, "own", "compute", 0, 2, op)
    with pytest.raises(ValueError, match="overlaps"):
        Timeline(1, (first, Span(0, "own", "compute", 1, 3, op)))
    with pytest.raises(ValueError, match="wrong order"):
        Timeline(2, (Span(1, "own", "compute", 0, 1, op), first))
    with pytest.raises(ValueError, match="ends before"):
        Timeline(1, (Span(0, "own", "compute", 2, 1, op),))
    with pytest.raises(ValueError, match="not one of 1"):
        Timeline(1, (Span(1, "own", "compute", 0, 1, op),))


def test_a_timeline_says_itself_in_words() -> None:
    head, names, first, second = repr(late_partner()).splitlines()
    assert head == (
        "Timeline of 2 ranks (measured): makespan 4.00 s, bubble fraction 50.0 %, "
        "exposed communication 1.00 s per rank on average."
    )
    assert names.split() == ["rank", "compute", "communication", "waiting", "idle", "bubble"]
    assert first.split() == "0 1.00 s 1.00 s 2.00 s 0 s 75.0 %".split()
    assert second.split() == "1 3.00 s 1.00 s 0 s 0 s 25.0 %".split()


def test_a_summary_of_many_ranks_stays_short() -> None:
    lines = str(ddp(ranks=40).timeline()).splitlines()
    assert len(lines) == 2 + 32 + 1
    assert lines[-1] == "and 8 more ranks"


def test_a_saved_trace_has_the_same_timeline(tmp_path) -> None:
    ddp().save(tmp_path / "trace.json")
    assert Trace.load(tmp_path / "trace.json").timeline() == ddp().timeline()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (3e-9, "0 s"),
        (-1e-17, "0 s"),
        (6e-9, "0.01 µs"),
        (0.00123, "1.23 ms"),
        (12.34, "12.3 s"),
        (1234.5, "1,234 s"),
        (5e-7, "0.50 µs"),
        (9.999, "10.0 s"),
    ],
)
def test_time_in_words(seconds: float, words: str) -> None:
    assert time_text(seconds) == words


def test_bytes_and_shares_in_words() -> None:
    assert [flops_text(n) for n in (0, 999_999, 128_000_000, 3 * 10**15)] == [
        "0 FLOP",
        "999999 FLOP",
        "128 MFLOP",
        "3.00 PFLOP",
    ]
    assert [bytes_text(n) for n in (0, 1, 999, 2**20, 3 * 10**9)] == [
        "0 bytes",
        "1 byte",
        "999 bytes",
        "1.05 MB",
        "3.00 GB",
    ]
    assert percent_text(0.3125) == "31.2 %"
