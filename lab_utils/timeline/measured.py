"""Place a recorded trace in time by its ranks' wall clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import inf

from lab_utils.timeline.ops import COMMUNICATION, Op, RankOps, message_key, waited_for
from lab_utils.timeline.span import Activity, Lane, Span
from lab_utils.timeline.timeline import Timeline


def measured(trace: RankOps) -> Timeline:
    """Return the timeline of a recorded trace.

    A synchronous communication op blocks its rank from issue until done; an asynchronous one while it is issued
    and again while the rank waits for it. Blocked time counts as waiting until the last member has issued the
    collective (or the other side its message), and as communication from then on. A partner that issues only
    after this rank is done causes no waiting (the root of a broadcast, a buffered send). If a partner's op is
    missing from the trace, or the op was issued before the trace began, all of it is waiting. An op that was
    never recorded as done lasts until the trace ends.

    ValueError when an op carries no time, or a wait refers to something that is not a communication op of its rank.
    """
    _require_times(trace)
    meeting = _Meeting(trace)
    spans: list[Span] = []
    for rank, ops in enumerate(trace.ops):
        spans += _own_stream(rank, ops, meeting)
        spans += _wire(rank, ops, meeting)
    return Timeline(trace.world_size, tuple(spans), trace.phases, "measured", others=trace.others)


class _Meeting:
    """When the partners of each communication op issued it, and when it was done."""

    def __init__(self, trace: RankOps) -> None:
        times = (t for op in trace for t in (op.issue_s, op.wait_s, op.done_s) if t is not None)
        self.end_s = max(times, default=0.0)
        # Key of an op → sorted issue times of its partners; ops with a missing partner are left out.
        self.issues_s: dict[tuple, list[float]] = {}
        for key, members in trace.collectives().items():
            present = {op.rank for op in members}
            if all(present.issuperset(ranks) for ranks in {op.ranks for op in members}):
                self.issues_s[key] = sorted(op.issue_s for op in members)
        for key, sides in trace.messages().items():
            if len(sides) == 2:
                self.issues_s[key] = sorted(op.issue_s for op in sides.values())

    def done_s(self, op: Op) -> float:
        return self.end_s if op.done_s is None else max(op.issue_s, op.done_s)

    def ready_s(self, op: Op) -> float:
        """When the last partner that the op needed had issued its side; infinity when one is missing."""
        if op.kind == "wait":  # for an op from before the trace
            return inf
        issues_s = self.issues_s.get((op.group, op.seq) if op.kind == "collective" else message_key(op))
        if issues_s is None:
            return inf
        came = bisect_right(issues_s, self.done_s(op))
        return max(op.issue_s, issues_s[came - 1]) if came else op.issue_s


def _own_stream(rank: int, ops: tuple[Op, ...], meeting: _Meeting) -> Iterable[Span]:
    pieces: list[Span] = []
    for start_s, end_s, op in _occupied(ops, meeting):
        if op.kind == "compute":
            pieces.append(Span(rank, "own", "compute", start_s, end_s, op))
        else:
            pieces += _split(rank, "own", start_s, end_s, op, meeting)
    return _without_overlap(pieces)


def _occupied(ops: tuple[Op, ...], meeting: _Meeting) -> Iterable[tuple[float, float, Op]]:
    """Yield (start, end, op) for each interval in which the rank computes or is blocked by a communication op."""
    waits = {op.of for op in ops if op.kind == "wait"}
    for index, op in enumerate(ops):
        done_s = meeting.done_s(op)
        if op.kind == "wait":
            yield op.issue_s, done_s, waited_for(ops, op) or op
        elif op.kind == "compute" or not op.asynchronous:
            yield op.issue_s, done_s, op
        else:
            if index + 1 < len(ops):  # issuing the op lasts until the rank issues its next one
                yield op.issue_s, max(op.issue_s, min(ops[index + 1].issue_s, done_s)), op
            if op.wait_s is not None and index not in waits:
                yield op.wait_s, max(op.wait_s, done_s), op


def _wire(rank: int, ops: tuple[Op, ...], meeting: _Meeting) -> list[Span]:
    """Spans of the communication ops, each on the lowest track that is free at its issue."""
    free_at: list[float] = []
    spans: list[Span] = []
    for op in sorted((op for op in ops if op.kind in COMMUNICATION), key=lambda op: op.issue_s):
        track = next((t for t, end_s in enumerate(free_at) if end_s <= op.issue_s), len(free_at))
        done_s = meeting.done_s(op)
        free_at[track : track + 1] = [done_s]
        spans += _split(rank, "wire", op.issue_s, done_s, op, meeting, track)
    return sorted(spans, key=lambda span: (span.track, span.start_s))


def _split(
    rank: int, lane: Lane, start_s: float, end_s: float, op: Op, meeting: _Meeting, track: int = 0
) -> list[Span]:
    """Split into waiting until the last partner issued, then communication; empty spans are left out."""
    ready_s = min(max(meeting.ready_s(op), start_s), end_s)
    pieces: list[tuple[Activity, float, float]] = [
        ("waiting", start_s, ready_s),
        ("communication", ready_s, end_s),
    ]
    return [Span(rank, lane, activity, a, b, op, track) for activity, a, b in pieces if b > a]


def _without_overlap(spans: list[Span]) -> Iterable[Span]:
    """Sort the spans by start and trim each to begin after the one before it.

    Two threads of a rank read the end of an op and the start of the next, so the times may cross by microseconds.
    """
    free_at = -inf
    for span in sorted(spans, key=lambda span: span.start_s):
        start_s = max(span.start_s, free_at)
        if span.end_s > start_s:
            yield Span(span.rank, span.lane, span.activity, start_s, span.end_s, span.op)
            free_at = span.end_s


def _require_times(trace: RankOps) -> None:
    for op in trace:
        if op.issue_s is None:
            raise ValueError(
                f"op {op.name!r} of rank {op.rank} carries no time, so this trace was not recorded: "
                "a measured timeline needs a trace from ranks.record"
            )
