"""Random programs of a few ranks: valid ones, ones in which ranks wait in a circle, and ones with a partner missing."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from slow_simulator import meeting_key
from trace_writer import Planned, TraceWriter

from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

COLLECTIVES = (
    "all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce", "all_to_all", "gather", "scatter", "barrier",
)  # fmt: skip
sizes = st.integers(0, 1 << 24)
positive = st.floats(1e6, 1e13)
short_s = st.just(0.0) | st.floats(1e-9, 1e-3)
scales = st.floats(0.05, 20)


@st.composite
def devices(draw: st.DrawFn) -> Device:
    return Device("drawn", draw(positive), draw(positive), draw(short_s), draw(short_s))


@st.composite
def links(draw: st.DrawFn) -> Link:
    return Link("drawn", draw(short_s), draw(positive))


@st.composite
def hardwares(draw: st.DrawFn, measured: bool = True) -> Hardware:
    """Any device, links, nodes and algorithm; `measured`: also computing that takes as long as it was measured."""
    algorithm = draw(st.sampled_from(["best", "ring", "tree", "gloo", "two_level", "rings"]))
    device = draw(st.none() | devices()) if measured else draw(devices())
    per_node = draw(st.none() | st.integers(1, 3))
    across = None if per_node is None else draw(links())
    return Hardware(device, draw(links()), per_node, across, algorithm, draw(scales))


@st.composite
def programs(draw: st.DrawFn, most: int = 16) -> TraceWriter:
    """A valid program: written in one order that works, then some ranks issue asynchronous ops earlier than that."""
    program = TraceWriter(draw(st.integers(2, 5)))
    _act(draw, program, draw(st.integers(0, most)))
    for ops in program.ranks:
        for at in draw(st.lists(st.integers(0, max(0, len(ops) - 1)), max_size=3)):
            _hoist(ops, at, draw(st.integers(0, 6)))
    return program


@st.composite
def traces(draw: st.DrawFn, most: int = 16) -> Trace:
    return draw(programs(most)).trace()


def _act(draw: st.DrawFn, program: TraceWriter, times: int) -> None:
    acts = (_compute, _compute, _collective, _collective, _message, _message, _wait, _wait)
    for act in draw(st.lists(st.sampled_from(acts), min_size=times, max_size=times)):
        act(draw, program)


def _ranks(draw: st.DrawFn, program: TraceWriter, least: int, most: int) -> list[int]:
    every = range(len(program.ranks))
    return draw(st.lists(st.sampled_from(every), min_size=least, max_size=most, unique=True))


def _compute(draw: st.DrawFn, program: TraceWriter) -> None:
    counts = {name: draw(st.just(0) | sizes) for name in ("flops", "bytes", "other_bytes")}
    rank = draw(st.integers(0, len(program.ranks) - 1))
    program.compute(rank, draw(short_s), kernels=draw(st.integers(1, 9)), **counts)


def _collective(draw: st.DrawFn, program: TraceWriter) -> None:
    """Of all ranks or of some; two groups of the same ranks are two streams."""
    world = len(program.ranks)
    members = sorted(_ranks(draw, program, 1, world)) if draw(st.booleans()) else list(range(world))
    group = "-".join(map(str, members)) + draw(st.sampled_from(["", "b"]))
    name = draw(st.sampled_from(COLLECTIVES))
    given = [0 if name == "barrier" else draw(sizes) for _ in members]
    program.collective(name, group, members, given, _ranks(draw, program, 0, world))


def _message(draw: st.DrawFn, program: TraceWriter) -> None:
    source, destination = _ranks(draw, program, 2, 2)
    tag, size_bytes = draw(st.integers(0, 1)), draw(sizes)
    program.message("send", source, destination, size_bytes, tag, draw(st.booleans()))
    program.message("recv", destination, source, size_bytes, tag, draw(st.booleans()))


def _wait(draw: st.DrawFn, program: TraceWriter) -> None:
    """For any asynchronous op so far, also for one that was waited for before."""
    later = [planned for ops in program.ranks for planned in ops if planned.op.asynchronous]
    if later:
        program.wait(draw(st.sampled_from(later)))


def _hoist(ops: list[Planned], at: int, by: int) -> None:
    """Issue an asynchronous op earlier, which no partner minds; never before one of its own stream."""
    if not ops or not ops[at].op.asynchronous:
        return
    for place in range(at, max(at - by, 0), -1):
        if ops[place - 1].stream == ops[place].stream:
            return
        ops[place - 1], ops[place] = ops[place], ops[place - 1]


@dataclass(frozen=True)
class Deadlocked:
    trace: Trace
    circle: tuple[int, ...]  # the ranks that wait for each other; others may wait for them


@st.composite
def deadlocked(draw: st.DrawFn) -> Deadlocked:
    """A valid program in which some ranks at some point wait for each other, and go on as if nothing were."""
    program = draw(programs(8))
    circle = tuple(_ranks(draw, program, 2, len(program.ranks)))
    (_circle_of_messages if draw(st.booleans()) else _crossed_groups)(program, circle)
    _act(draw, program, draw(st.integers(0, 6)))
    return Deadlocked(program.trace(), circle)


def _circle_of_messages(program: TraceWriter, circle: tuple[int, ...]) -> None:
    """Each receives from the one before it, and only then sends on."""
    for at, rank in enumerate(circle):
        program.message("recv", rank, circle[at - 1], tag=7)
        program.message("send", rank, circle[(at + 1) % len(circle)], tag=7)


def _crossed_groups(program: TraceWriter, circle: tuple[int, ...]) -> None:
    """The first rank comes to the two groups in another order than the rest."""
    for at, rank in enumerate(circle):
        for group in ("x", "y") if at else ("y", "x"):
            program.issue(rank, "all_reduce", group, circle, 8)


@dataclass(frozen=True)
class Lacking:
    trace: Trace
    name: str  # of the op that lacks a side
    missing: int  # the rank whose side is not there


@st.composite
def lacking_a_side(draw: st.DrawFn) -> Lacking:
    """A valid program of which one side of one op on the wire was not recorded, nor were the waits for it."""
    program = draw(programs())
    members = sorted(_ranks(draw, program, 2, len(program.ranks)))
    program.collective("all_reduce", "last", members, 8)
    sides: dict[tuple, list[Planned]] = {}
    for planned in (planned for ops in program.ranks for planned in ops if planned.stream):
        sides.setdefault(meeting_key(planned.op), []).append(planned)
    gone = draw(st.sampled_from([side for found in sides.values() if len(found) > 1 for side in found]))
    rank = gone.op.rank
    program.ranks[rank] = [planned for planned in program.ranks[rank] if gone not in (planned, planned.of)]
    left = next(side for side in sides[meeting_key(gone.op)] if side is not gone)
    return Lacking(program.trace(), left.op.name, rank)
