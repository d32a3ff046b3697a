"""What the recorder says of each op: when, where from, how much, and what the rank did in between."""

from __future__ import annotations

import inspect
import itertools

import recorder_programs as programs

from lab_utils.ranks import Ranks
from lab_utils.timeline import Op, Trace

CLOCK_S = 1e-4  # two threads of a rank read the clock; between ranks it is one clock


def line(mark: str) -> str:
    """The line of recorder_programs.py that carries the mark."""
    lines = inspect.getsource(programs).splitlines()
    (number,) = (n for n, text in enumerate(lines, start=1) if text.endswith(f"# {mark}"))
    return f"recorder_programs.py:{number}"


def on_wire(ops: tuple[Op, ...]) -> list[Op]:
    return [op for op in ops if op.kind not in ("compute", "wait")]


def assert_ordered(trace: Trace) -> None:
    """Issue, wait, done; and the rank's own stream, computing and waiting and ops it blocks in, one after the other."""
    for ops in trace.ops:
        for op in ops:
            assert op.issue_s <= (op.issue_s if op.wait_s is None else op.wait_s) <= op.done_s + CLOCK_S or (
                op.asynchronous and op.issue_s <= op.done_s
            ), op
        held = [op for op in ops if op.kind in ("compute", "wait") or not op.asynchronous]
        for before, after in itertools.pairwise(held):
            assert before.done_s <= after.issue_s + CLOCK_S, (before, after)


def test_times_are_ordered_and_computing_fills_the_gaps(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.waits_and_computes)
    assert_ordered(trace)
    for ops in trace.ops:
        computed = [op for op in ops if op.kind == "compute"]
        assert sum(op.done_s - op.issue_s for op in computed) >= 0.006
        assert all(op.done_s > op.issue_s for op in computed)
        for before, after in itertools.pairwise(ops):  # no gap, but where an asynchronous op is being handed over
            if before.kind in ("compute", "wait") or not before.asynchronous:
                assert after.issue_s - before.done_s <= CLOCK_S, (before, after)


def test_a_wait_points_to_its_op(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.waits_and_computes).ops:
        waits = [op for op in ops if op.kind == "wait"]
        first, second, last = on_wire(ops)
        assert [ops[wait.of] for wait in waits] == [second, first]
        assert [op.asynchronous for op in (first, second, last)] == [True, True, False]
        assert [first.wait_s, second.wait_s] == [waits[1].issue_s, waits[0].issue_s]
        assert [op.seq for op in (first, second, last)] == [first.seq, first.seq + 1, first.seq + 2]


def test_a_rank_waits_for_the_late_one(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.late_rank)
    early, late = (on_wire(ops)[0] for ops in trace.ops)
    assert early.issue_s < early.wait_s < late.issue_s - 0.03
    assert early.done_s > late.issue_s


def test_a_receive_lasts_until_the_message_is_there(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.late_message)
    (send,), (recv,) = (on_wire(ops) for ops in trace.ops)
    assert (send.kind, recv.kind, send.peer, recv.peer, send.seq) == ("send", "recv", 1, 0, recv.seq)
    assert not send.asynchronous and not recv.asynchronous
    assert recv.issue_s < recv.wait_s < send.issue_s - 0.03
    assert recv.done_s > send.issue_s


def test_an_op_can_be_done_long_before_it_is_waited_for(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.finished_before_it_is_waited_for).ops:
        (op,), (wait,) = on_wire(ops), [op for op in ops if op.kind == "wait"]
        assert op.done_s < op.wait_s - 0.015
        assert wait.done_s >= wait.issue_s == op.wait_s


def test_an_op_belongs_to_its_innermost_phase(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.nested_phases)
    for ops, phases in zip(trace.ops, trace.phases, strict=True):
        assert [op.phase for op in on_wire(ops)] == ["step", "forward", "step", ""]
        assert any(op.phase == "forward" and op.done_s - op.issue_s > 5e-4 for op in ops if op.kind == "compute")
        inner, outer = phases
        assert (inner.name, outer.name) == ("forward", "step")
        assert outer.start_s <= inner.start_s <= inner.end_s <= outer.end_s


def test_a_source_is_the_users_own_line(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.sources).ops:
        communicated = [op for op in ops if op.kind != "compute"]
        by_name = [(op.kind, op.name, op.source) for op in communicated]
        assert by_name[:6] == [
            ("collective", "all_reduce", line("plain")),
            ("collective", "broadcast", line("issued")),
            ("wait", "broadcast", line("waited")),
            ("collective", "barrier", line("helper")),
            ("collective", "all_gather", line("object")),
            ("collective", "all_gather", line("object")),
        ]
        rest = [op for op in communicated[6:] if op.kind == "collective"]
        assert {op.source for op in rest[:-1]} == {line("wrapped")}
        assert (rest[-1].name, rest[-1].source) == ("all_reduce", line("backward"))


def test_a_strategys_op_is_traced_to_its_line(ranks2: Ranks) -> None:
    from lab_utils.strategies.data import all_reduce

    for op in (op for ops in ranks2.record(_aggregate).ops for op in on_wire(ops)):
        name, number = op.source.split(":")
        assert name == "all_reduce.py"
        assert "run(flat)" in inspect.getsource(all_reduce).splitlines()[int(number) - 1]


def _aggregate() -> None:
    import torch

    from lab_utils.strategies.data.all_reduce import aggregate

    model = torch.nn.Linear(4, 4)
    model(torch.ones(4)).sum().backward()
    aggregate(model)


def test_ddp_waits_for_its_sums_at_the_end_of_backward(ranks2: Ranks) -> None:
    """The wait is inside autograd's C++, on the op's future: rank 0 must be seen to wait for rank 1's backward."""
    trace = ranks2.record(programs.ddp_waits)
    assert_ordered(trace)
    waits = [[op for op in ops if op.kind == "wait"] for ops in trace.ops]
    last = waits[0][-1]
    assert last.done_s - last.issue_s > 0.03
    waited = trace.ops[0][last.of]
    assert (waited.name, waited.wait_s) == ("all_reduce", last.issue_s)
    assert waited is on_wire(trace.ops[0])[-1]


def test_every_step_of_ddp_is_recorded_once(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.train_ddp, 20, 64)
    assert_ordered(trace)
    for ops in trace.ops:
        sums = [op for op in ops if op.name == "all_reduce" and op.kind == "collective"]
        assert len(sums) == 20
        first = sums[1].seq  # between the first two steps DDP tells all ranks of the order of its buckets
        assert [op.seq for op in sums[1:]] == list(range(first, first + 19))
        waited = [op.of for op in ops if op.kind == "wait"]
        assert len(set(waited)) == len(waited)


def test_only_what_lies_inside_is_recorded(ranks2: Ranks) -> None:
    refusal = "a recording is already under way on this rank; end it before starting another"
    assert ranks2.run(programs.recorded_by_hand) == [[["barrier"], ["broadcast"], ["reduce"], refusal]] * 2


def test_a_wait_for_an_op_from_before_points_nowhere(ranks2: Ranks) -> None:
    assert ranks2.run(programs.issued_before_waited_inside) == [[("wait", None)]] * 2


def test_thousands_of_ops(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.many, 3_000)
    assert_ordered(trace)
    assert [len(on_wire(ops)) for ops in trace.ops] == [3_000] * 2
    assert len(trace.collectives()) == 3_000


def test_ops_of_two_threads_are_all_recorded(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.two_threads, 200)
    assert trace.results == [2.0, 2.0]
    for ops in trace.ops:
        by_group = {}
        for op in on_wire(ops):
            if op.name == "all_reduce":
                by_group.setdefault(op.group, []).append(op)
        assert [len(found) for found in by_group.values()] == [200, 200]
        for found in by_group.values():
            assert [op.seq for op in found] == list(range(found[0].seq, found[0].seq + 200))
        assert {op.source for op in by_group[max(by_group, key=len)]} >= {line("thread")}


def test_an_op_of_a_librarys_thread_is_traced_to_the_call_it_serves(ranks2: Ranks) -> None:
    for ops in ranks2.record(programs.from_a_thread_without_own_lines).ops:
        (op,) = on_wire(ops)
        assert op.source == line("served")


def test_callbacks_end_while_the_interpreter_is_busy(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.callbacks_under_a_busy_interpreter, 200)
    assert max(trace.results) < 5.0
    assert all(len(on_wire(ops)) == 200 for ops in trace.ops)


def test_the_row_says_what_was_refused(ranks2: Ranks) -> None:
    assert ranks2.run(programs.rows) == [["computing", "in", "all_reduce", "[4]"]] * 2


def test_a_message_that_is_refused_is_not_compared(ranks2: Ranks) -> None:
    assert ranks2.run(programs.refused_and_received) == [3.0, 0.0]


def test_a_message_that_is_refused_is_not_counted(ranks2: Ranks) -> None:
    trace = ranks2.record(programs.refused_and_sent)
    assert all(len(refusals) == 2 for refusals, *_ in trace.results)
    assert trace.results[1][1:] == (2.0, 2) and trace.results[0][2] == 2
    pairs = trace.messages()
    assert len(pairs) == 2 and all(pair.keys() == {"send", "recv"} for pair in pairs.values())
