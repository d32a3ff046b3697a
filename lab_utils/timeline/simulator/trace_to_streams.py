"""Lower a recorded trace to a Program: streams, nodes, dependencies and cost classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lab_utils.text import numbered
from lab_utils.timeline.hardware import Wire, wire_rows
from lab_utils.timeline.ops import Op, Phase, RankOps, message_key, waited_for
from lab_utils.timeline.simulator.program import Circle, Program, Times, place

FREE, ISSUE, FIRST_COMPUTE = 0, 1, 2  # cost classes: nothing, issuing an op, then the computes and the wires


@dataclass(frozen=True, eq=False)
class Lowered:
    """A program and its index into the trace. Cost classes: FREE, ISSUE, one per row of `compute`, one per wire.

    compute   float64[c, 5]: FLOPs, bytes of kernels with FLOPs, bytes of the other kernels, kernels, measured seconds
    own       int64[o, 4]: rank, node, wire node that it waits for (-1: none), op (for a wait: the op it waits for);
              in stream order
    turn      int64[o]: the op during which the node runs (for a wait: the wait itself)
    wire      int64[w, 4]: rank, issuing node, wire node, op
    uncounted_s  compute seconds of a trace recorded without counting kernels
    Op numbers run over the whole trace, rank by rank.
    """

    program: Program
    compute: np.ndarray
    wires: tuple[Wire, ...]
    own: np.ndarray
    turn: np.ndarray
    wire: np.ndarray
    uncounted_s: float = 0.0
    _rows: dict[int | None, np.ndarray] = field(default_factory=dict)  # cached per ranks_per_node

    def rows(self, ranks_per_node: int | None) -> np.ndarray:
        """float64[w, algorithms, 4]: rounds and bytes per wire, the input of `Hardware.wire_s`."""
        if ranks_per_node not in self._rows:
            self._rows[ranks_per_node] = wire_rows(self.wires, ranks_per_node)
        return self._rows[ranks_per_node]

    def place(self, cost: np.ndarray) -> Times:
        """Place the program in time. ValueError naming the ranks that deadlock in a circle of waits."""
        try:
            return place(self.program, cost)
        except Circle as circle:
            ranks = {rank for rank, node in self.own[:, :2].tolist() if node in set(circle.blocked.tolist())}
            named = numbered("rank", sorted(ranks))
            raise ValueError(f"{named} wait for each other in a circle: no order of their ops exists") from None


class WithProgram(Protocol):
    """A Trace that caches its lowered program."""

    ops: tuple[tuple[Op, ...], ...]
    phases: tuple[tuple[Phase, ...], ...]
    lowered: Lowered

    @property
    def world_size(self) -> int: ...
    def __iter__(self) -> Iterator[Op]: ...


def lower(trace: RankOps) -> Lowered:
    """Lower a trace. ValueError when an op's partner is missing, or a wait is for an op issued before the trace."""
    lowering = _Lowering(trace)
    for rank, ops in enumerate(trace.ops):
        lowering.own_stream(rank, ops)
    lowering.on_the_wire()
    return lowering.lowered()


class _Classes(dict):
    """Number distinct keys in order of first use."""

    def of(self, what: object) -> int:
        return self.setdefault(what, len(self))


@dataclass(slots=True)
class _Stream:
    """Nodes as (kind of class, number within the kind), and per node the (stream, position) pairs that it needs."""

    nodes: list[tuple[str, int]] = field(default_factory=list)
    needs: list[list[tuple[object, int]]] = field(default_factory=list)

    def add(self, kind: str, number: int, needs: Iterable[tuple[object, int]] = ()) -> int:
        self.nodes.append((kind, number))
        self.needs.append(list(needs))
        return len(self.nodes) - 1


class _Lowering:
    def __init__(self, trace: RankOps) -> None:
        self.trace = trace
        self.streams: dict[object, _Stream] = {rank: _Stream() for rank in range(trace.world_size)}
        self.computes, self.wires = _Classes(), _Classes()
        self.own: list[tuple[int, int, Op | None, int, int]] = []  # rank, position, what it waits for, op, turn
        self.wire: list[tuple[Op, int, int]] = []  # op, position of its issuing node, op number
        self.meets: dict[tuple, list[tuple[Op, int]]] = {}  # wire op → sides and positions of their issuing nodes
        self.number = 0

    # ------------------------------------------------------------------ the rank's own stream
    def own_stream(self, rank: int, ops: tuple[Op, ...]) -> None:
        for at, op in enumerate(ops):
            if op.kind == "compute":
                self._own(rank, "compute", self.computes.of(_row(op)), self.number)
            elif op.kind == "wait":
                waited = self._op_of(ops, op)
                self._own(rank, "free", 0, self.number - at + op.of, waited)
            else:
                self._issue(rank, op)
            self.number += 1

    def _own(self, rank: int, kind: str, number: int, op: int, waits_for: Op | None = None) -> int:
        needs = [] if waits_for is None else [_meeting(waits_for)]
        position = self.streams[rank].add(kind, number, needs)
        self.own.append((rank, position, waits_for, op, self.number))
        return position

    def _issue(self, rank: int, op: Op) -> None:
        position = self._own(rank, "issue", 0, self.number)
        self.meets.setdefault(_meeting(op), []).append((op, position))
        self.wire.append((op, position, self.number))
        if not op.asynchronous:
            self._own(rank, "free", 0, self.number, op)

    def _op_of(self, ops: tuple[Op, ...], wait: Op) -> Op:
        if (op := waited_for(ops, wait)) is None:
            raise ValueError(
                f"rank {wait.rank} waits{_at(wait)} for an op that was issued before the trace began, so its time is "
                "unknown: start recording before it is issued"
            )
        return op

    # ------------------------------------------------------------------ the wire
    def on_the_wire(self) -> None:
        """Add one node per wire op, in order, to the stream of its group or of its messages."""
        for meeting in sorted(self.meets, key=_turn):
            sides = self.meets[meeting]
            _require_all(sides)
            stream, number = _stream_of(meeting), self.wires.of(_wire(sides))
            needs = [(op.rank, position) for op, position in sides]
            self.streams.setdefault(stream, _Stream()).add("wire", number, needs)

    # ------------------------------------------------------------------ arrays
    def lowered(self) -> Lowered:
        base, total = {}, 0
        for key, stream in self.streams.items():
            base[key], total = total, total + len(stream.nodes)
        place_of: dict[tuple, int] = {}
        for meeting in sorted(self.meets, key=_turn):
            place_of[meeting] = base[_stream_of(meeting)]
            base[_stream_of(meeting)] += 1
        first = np.cumsum([0, *(len(stream.nodes) for stream in self.streams.values())])
        ranks = first[: self.trace.world_size].tolist()

        def node(need: tuple) -> int:
            return place_of[need] if need in place_of else ranks[need[0]] + need[1]

        own = [
            (rank, ranks[rank] + at, -1 if op is None else place_of[_meeting(op)], number)
            for rank, at, op, number, _ in self.own
        ]
        wire = [(op.rank, ranks[op.rank] + at, place_of[_meeting(op)], number) for op, at, number in self.wire]
        return Lowered(
            self._program(first, node), _table(self.computes, 5), tuple(self.wires), _table(own, 4, np.int64),
            np.array([turn for *_, turn in self.own], np.int64), _table(wire, 4, np.int64), _uncounted_s(self.trace),
        )  # fmt: skip

    def _program(self, first: np.ndarray, node) -> Program:
        start = {"free": FREE, "issue": ISSUE, "compute": FIRST_COMPUTE, "wire": FIRST_COMPUTE + len(self.computes)}
        streams = self.streams.values()
        classes = [start[kind] + number for stream in streams for kind, number in stream.nodes]
        needs = [[node(need) for need in needed] for stream in streams for needed in stream.needs]
        return Program(
            first.astype(np.int64),
            np.array(classes, np.int32),
            np.cumsum([0, *map(len, needs)]).astype(np.int32),
            np.array([source for sources in needs for source in sources], np.int32),
            np.zeros(sum(map(len, needs)), np.uint8),
        )


def _uncounted_s(trace: RankOps) -> float:
    computing = [op for op in trace if op.kind == "compute"]
    if any(op.kernels or op.live_bytes is not None for op in computing):
        return 0.0
    return sum(op.done_s - op.issue_s for op in computing if op.issue_s is not None and op.done_s is not None)


def _row(op: Op) -> tuple[float, ...]:
    measured_s = 0.0 if op.issue_s is None or op.done_s is None else op.done_s - op.issue_s
    return op.flops, op.bytes, op.other_bytes, op.kernels, measured_s


def _table(rows: Iterable[tuple], columns: int, dtype: type = np.float64) -> np.ndarray:
    return np.array(list(rows), dtype).reshape(-1, columns)


def _meeting(op: Op) -> tuple:
    """Key of a wire op, equal for all of its sides."""
    return ("collective", op.group, op.seq) if op.kind == "collective" else ("message", *message_key(op))


def _stream_of(meeting: tuple) -> tuple:
    """One stream per group for collectives; one per (source, destination, tag, group) for messages."""
    return meeting[:-1]


def _turn(meeting: tuple) -> tuple:
    return (meeting[0], *map(str, meeting[1:-1]), meeting[-1])


def _wire(sides: list[tuple[Op, int]]) -> Wire:
    op = sides[0][0]
    sizes = [side.bytes for side, _ in sides]
    if op.kind != "collective":
        source, destination = message_key(op)[:2]
        return Wire("message", max(sizes), (source, destination))
    together = op.name in ("all_gather", "gather")  # each rank contributes a part
    return Wire(op.name, sum(sizes) if together else max(sizes), op.ranks)


def _require_all(sides: list[tuple[Op, int]]) -> None:
    op = sides[0][0]
    there = {side.rank for side, _ in sides}
    wanted = set(op.ranks) if op.kind == "collective" else set(message_key(op)[:2])
    if missing := sorted(wanted - there, key=str):
        named = ", ".join(map(str, missing))
        raise ValueError(
            f"{op.name} #{op.seq} of rank {op.rank}{_at(op)} needs rank {named} too, whose side is not in the trace: "
            "only the trace of all ranks can be predicted"
        )
    if op.kind == "collective" and (other := next((side for side, _ in sides if side.name != op.name), None)):
        raise ValueError(
            f"{op.group} #{op.seq} is {op.name} on rank {op.rank}{_at(op)} and {other.name} on rank "
            f"{other.rank}{_at(other)}: a collective is the same on all its ranks"
        )


def _at(op: Op) -> str:
    return f" ({op.source})" if op.source else ""
