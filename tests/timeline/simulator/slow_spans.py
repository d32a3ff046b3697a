"""The spans that a predicted timeline must have, told from what the slow simulator saw of each op."""

from __future__ import annotations

from collections.abc import Iterator

from slow_simulator import Seen, SlowSimulator

from lab_utils.timeline import Span

Piece = tuple[str, float, float]  # activity, from, to


def expected_spans(slow: SlowSimulator) -> list[Span]:
    """In order of rank, lane, track and start; those without length are left out. A wait's name what it waits for."""
    spans = []
    for rank, ops in enumerate(slow.seen):
        spans += [
            Span(rank, "own", activity, begins_s, ends_s, seen.op if seen.waits_for is None else seen.waits_for)
            for seen in ops
            for activity, begins_s, ends_s in _own(seen)
            if ends_s > begins_s
        ]
        spans += sorted(_wire(rank, ops), key=lambda span: (span.track, span.start_s))
    return spans


def _own(seen: Seen) -> Iterator[Piece]:
    """Its own stream computes, or hands the op over; blocked, it waits for partners and then for the wire."""
    if seen.op.kind == "compute":
        yield "compute", seen.came_s, seen.left_s
        return
    blocks_from_s = seen.came_s
    if seen.op.kind != "wait":
        yield "communication", seen.came_s, seen.issued_s
        blocks_from_s = seen.issued_s
    turns_s = min(max(seen.meeting.ready_s, blocks_from_s), seen.left_s)
    yield "waiting", blocks_from_s, turns_s
    yield "communication", turns_s, seen.left_s


def _wire(rank: int, ops: list[Seen]) -> Iterator[Span]:
    """From issue to end; an op takes the lowest track that is free when it is issued."""
    free_s: list[float] = []
    for seen in ops:
        if seen.issued_s is None:
            continue
        meeting = seen.meeting
        free = [track for track, until_s in enumerate(free_s) if until_s <= seen.issued_s]
        track = free[0] if free else len(free_s)
        free_s[track : track + 1] = [meeting.end_s]
        for activity, begins_s, ends_s in (
            ("waiting", seen.issued_s, meeting.start_s),
            ("communication", meeting.start_s, meeting.end_s),
        ):
            if ends_s > begins_s:
                yield Span(rank, "wire", activity, begins_s, ends_s, seen.op, track)
