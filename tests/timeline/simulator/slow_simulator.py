"""A slow simulator, from event to event in plain Python, written from the specification: the fast one must equal it.

It shares no code with lab_utils but the ops themselves. Ranks are generators that compute, hand ops over and block;
whatever happens next stands on one heap. Times are sums of the same numbers, so they are compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count

from slow_costs import compute_s, wire_s

from lab_utils.timeline import Op, Trace
from lab_utils.timeline.hardware import Hardware


@dataclass(slots=True)
class Seen:
    """What became of one op. A wait has its own came_s and left_s, and shares the meeting of what it waits for."""

    op: Op
    came_s: float
    issued_s: float | None = None
    left_s: float | None = None
    meeting: Meeting | None = None
    waits_for: Op | None = None

    @property
    def computes_s(self) -> float:
        return self.left_s - self.came_s if self.op.kind == "compute" else 0.0

    @property
    def held_s(self) -> float:
        """For how long communication kept its rank from going on: handing the op over, and blocked on it."""
        return 0.0 if self.op.kind == "compute" else self.left_s - self.came_s


@dataclass(slots=True, eq=False)
class Meeting:
    """One op on the wire: every side must have issued it, and the one before it on its stream must be over."""

    wanted: int
    sides: list[Op] = field(default_factory=list)
    ready_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    waiters: list[Callable[[], None]] = field(default_factory=list)


class Stuck(Exception):
    """Ranks that can never go on."""

    def __init__(self, ranks: set[int]) -> None:
        super().__init__(f"ranks {sorted(ranks)}")
        self.ranks = ranks


class SlowSimulator:
    """`seen[rank][index]` tells what became of each op; Stuck when some ranks never end."""

    def __init__(self, trace: Trace, hardware: Hardware) -> None:
        self.hardware, self.now_s = hardware, 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.turn = count()
        self.meetings = _meetings(trace)
        self.queues: dict[tuple, list[tuple]] = {}
        for key in sorted(self.meetings, key=lambda key: key[-1]):
            self.queues.setdefault(key[:-1], []).append(key)
        self.busy: set[tuple] = set()
        self.seen: list[list[Seen]] = [[] for _ in trace.ops]
        self.running: set[int] = set()
        self._run(trace)

    @property
    def makespan_s(self) -> float:
        on_wire = (meeting.end_s for meeting in self.meetings.values())
        return max([0.0, *on_wire, *(seen.left_s for rank in self.seen for seen in rank)])

    def ends_s(self, rank: int) -> float:
        """When the rank's own stream is through."""
        return self.seen[rank][-1].left_s if self.seen[rank] else 0.0

    def _run(self, trace: Trace) -> None:
        for rank, ops in enumerate(trace.ops):
            self.running.add(rank)
            self._at(0.0, partial(self._go_on, rank, self._walk(rank, ops)))
        while self.events:
            self.now_s, _, happens = heappop(self.events)
            happens()
        if self.running:
            raise Stuck(self.running)

    def _at(self, time_s: float, happens: Callable[[], None]) -> None:
        heappush(self.events, (time_s, next(self.turn), happens))

    def _walk(self, rank: int, ops: tuple[Op, ...]) -> Iterator[float | Meeting]:
        """Yields seconds that the rank is busy for, or the meeting that it blocks on."""
        for op in ops:
            seen = Seen(op, self.now_s)
            self.seen[rank].append(seen)
            if op.kind == "compute":
                yield compute_s(op, self.hardware)
            elif op.kind == "wait":
                seen.meeting, seen.waits_for = self.seen[rank][op.of].meeting, ops[op.of]
                yield seen.meeting
            else:
                yield 0.0 if self.hardware.device is None else self.hardware.device.issue_s
                seen.issued_s, seen.meeting = self.now_s, self._issue(op)
                if not op.asynchronous:
                    yield seen.meeting
            seen.left_s = self.now_s

    def _go_on(self, rank: int, walk: Iterator[float | Meeting]) -> None:
        wanted = next(walk, None)
        if wanted is None:
            self.running.remove(rank)
        elif not isinstance(wanted, Meeting):
            self._at(self.now_s + wanted, partial(self._go_on, rank, walk))
        elif wanted.end_s is None or wanted.end_s > self.now_s:
            wanted.waiters.append(partial(self._go_on, rank, walk))
        else:
            self._go_on(rank, walk)

    def _issue(self, op: Op) -> Meeting:
        key = meeting_key(op)
        meeting = self.meetings[key]
        meeting.sides.append(op)
        if len(meeting.sides) == meeting.wanted:
            meeting.ready_s = self.now_s
        self._start_next(key[:-1])
        return meeting

    def _start_next(self, stream: tuple) -> None:
        queue = self.queues[stream]
        if stream in self.busy or not queue or self.meetings[queue[0]].ready_s is None:
            return
        meeting = self.meetings[queue.pop(0)]
        self.busy.add(stream)
        meeting.start_s = self.now_s
        self._at(self.now_s + wire_s(meeting.sides, self.hardware), lambda: self._end(stream, meeting))

    def _end(self, stream: tuple, meeting: Meeting) -> None:
        meeting.end_s = self.now_s
        self.busy.remove(stream)
        self._start_next(stream)
        for go_on in meeting.waiters:
            go_on()


def meeting_key(op: Op) -> tuple:
    """Equal for all sides of one op on the wire; without its last item, the stream that it is on."""
    if op.kind == "collective":
        return "collective", op.group, op.seq
    ends = (op.rank, op.peer) if op.kind == "send" else (op.peer, op.rank)
    return "message", op.group, *ends, op.tag, op.seq


def _meetings(trace: Trace) -> dict[tuple, Meeting]:
    on_wire = [op for op in trace if op.kind not in ("compute", "wait")]
    return {meeting_key(op): Meeting(len(op.ranks) if op.kind == "collective" else 2) for op in on_wire}
