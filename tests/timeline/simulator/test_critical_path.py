"""The critical path in ops, and traces whose sides do not fit each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from timeline_samples import ddp

from lab_utils.timeline import Phase, Trace
from lab_utils.timeline.hardware import Hardware, Link

SLOW = Hardware(None, Link("slow", 1e-3, 1e8))


def test_on_a_slow_link_the_path_ends_in_communication() -> None:
    names = [op.name for op in ddp(2).timeline(SLOW).critical_path]
    assert names[0] == "compute" and names.count("all_reduce") >= 3


def test_a_measured_timeline_does_not_know_it() -> None:
    with pytest.raises(ValueError, match=r"only a predicted timeline knows what each op waited for"):
        _ = ddp(2).timeline().critical_path


def test_one_collective_with_two_names() -> None:
    trace = ddp(2)
    first = next(at for at, op in enumerate(trace.ops[1]) if op.kind == "collective")
    other = replace(trace.ops[1][first], name="barrier")
    mixed = Trace((trace.ops[0], (*trace.ops[1][:first], other, *trace.ops[1][first + 1 :])))
    with pytest.raises(ValueError, match="is all_reduce on rank 0.* and barrier on rank 1.*: a collective is the same"):
        mixed.timeline(SLOW)


def test_phases_move_with_their_ops() -> None:
    measured, predicted = ddp(2).timeline(), ddp(2).timeline(SLOW)
    assert [[p.name for p in rank] for rank in predicted.phases] == [[p.name for p in rank] for rank in measured.phases]
    assert all(p.end_s <= predicted.makespan_s for rank in predicted.phases for p in rank)
    assert predicted.phases[0][-1].end_s > measured.phases[0][-1].end_s


def test_untimed_ops_are_in_no_phase() -> None:
    trace = ddp(2)
    ops = tuple(tuple(replace(op, issue_s=None, wait_s=None, done_s=None) for op in rank) for rank in trace.ops)
    untimed = Trace(ops, ((Phase(0, "forward", 0, 1),), ()))
    assert untimed.timeline(SLOW).phases == ((), ())
