"""Export a timeline as trace events, which ui.perfetto.dev and chrome://tracing open.

The format is Google's "Trace Event Format" (JSON object form): complete events ("X") for spans and phases, flow
events ("s", "t", "f") for arrows, counters ("C"), and metadata ("M") with the names. Times are in µs, to the ns.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from lab_utils.timeline.memory import Memory
from lab_utils.timeline.ops import Op, Phase, message_key
from lab_utils.timeline.span import ACTIVITIES, LANES, Spans

PHASES, OWN, WIRE = range(3)  # threads of a process, top to bottom; wire tracks are numbered from WIRE
COUNTERS = {"bytes": "memory", "micro-batches": "activations"}  # the viewer adds the unit
_WIRE_LANE, _COMMUNICATES = LANES.index("wire"), ACTIVITIES.index("communication")
_WAITS = ACTIVITIES.index("waiting")
_AT_ONCE = 10_000  # events per write
_text = lru_cache(maxsize=1 << 16)(json.dumps)


def to_perfetto(
    path: str | Path,
    kind: str,
    world_size: int,
    spans: Spans,
    phases: Sequence[Sequence[Phase]],
    memory: Sequence[Memory],
    zero_s: float,
) -> None:
    """Write a timeline as trace events in time since `zero_s`; a path that ends in .gz is compressed.

    A rank is a process (id rank + 1, as 0 is Perfetto's idle process) whose threads are its phases, its own stream and
    each wire track. Arrows lead from a send to its recv, and from member to member of a collective in order of issue.
    With `memory` each rank has a counter of it. Deterministic: same timeline, same events.
    """
    about = {"kind": kind, "ranks": world_size, "made_by": "lab_utils"}
    rows = _Spans(spans, world_size, zero_s)
    with _opened(Path(path)) as file:
        file.write(f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n')
        events, separator = iter(_events(rows, phases, memory)), ""
        while some := list(islice(events, _AT_ONCE)):
            file.write(separator + ",\n".join(some))
            separator = ",\n"
        file.write("\n]}\n")


def _opened(path: Path) -> AbstractContextManager[TextIO]:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", compresslevel=3, encoding="utf-8")
    return path.open("w", encoding="utf-8")


def _events(spans: _Spans, phases: Sequence[Sequence[Phase]], memory: Sequence[Memory]) -> Iterator[str]:
    yield from _names(spans, phases)
    for rank, of_rank in enumerate(phases):
        yield from _phases(spans, rank, of_rank)
    yield from _complete(spans)
    yield from _arrows(spans)
    for rank, held in enumerate(memory):
        yield from _counter(spans, rank, held)


class _Spans:
    """The columns of spans as rows; times in whole ns since `zero_s`, threads as ids."""

    def __init__(self, spans: Spans, world_size: int, zero_s: float) -> None:
        c = spans.columns
        self.ops, self.world_size, self.zero_s = spans.ops, world_size, zero_s
        tracks = int(c.track[c.lane == _WIRE_LANE].max(initial=-1)) + 1
        # Thread ids are unique in the file and differ from all process ids: Perfetto merges equal ids.
        self.base, self.stride = world_size + 1, WIRE + max(tracks, 1)
        thread = np.where(c.lane == _WIRE_LANE, WIRE + c.track, OWN)
        columns = (
            c.rank + 1, self.thread(c.rank, thread), c.lane, c.activity, self.ns(c.start_s), self.ns(c.end_s), c.op,
        )  # fmt: skip
        self.rows = list(zip(*(column.tolist() for column in columns), strict=True))

    def ns(self, at_s: np.ndarray) -> np.ndarray:
        return np.rint((np.asarray(at_s) - self.zero_s) * 1e9).astype(np.int64)

    def thread(self, rank: np.ndarray | int, number: np.ndarray | int) -> np.ndarray | int:
        return self.base + rank * self.stride + number

    def on_the_wire(self) -> Iterator[tuple[Op, int, _Point]]:
        """Yield (op, activity, start point) of each span on the wire."""
        for pid, tid, lane, activity, start_ns, _, op in self.rows:
            if lane == _WIRE_LANE:
                yield self.ops[op], activity, _Point(start_ns, pid, tid)


class _Point(NamedTuple):
    at_ns: int
    pid: int
    tid: int

    def __str__(self) -> str:
        return f'"pid":{self.pid},"tid":{self.tid},"ts":{self.at_ns / 1000}'


# ---------------------------------------------------------------------- names
def _names(spans: _Spans, phases: Sequence[Sequence[Phase]]) -> Iterator[str]:
    used = {(pid, tid) for pid, tid, *_ in spans.rows}
    used |= {(rank + 1, spans.thread(rank, PHASES)) for rank, of_rank in enumerate(phases) if of_rank}
    digits = len(str(spans.world_size - 1))  # Perfetto sorts processes by their names
    for rank in range(spans.world_size):
        yield _metadata("process_name", rank + 1, 0, "name", f"rank {rank:0{digits}}")
        yield _metadata("process_sort_index", rank + 1, 0, "sort_index", rank)
    for pid, tid in sorted(used):
        number = (tid - spans.base) % spans.stride
        yield _metadata("thread_name", pid, tid, "name", _thread_name(number))
        yield _metadata("thread_sort_index", pid, tid, "sort_index", number)


def _thread_name(number: int) -> str:
    return ("phases", "own stream", "wire")[number] if number <= WIRE else f"wire {number - WIRE + 1}"


def _metadata(what: str, pid: int, tid: int, key: str, value: str | int) -> str:
    return f'{{"ph":"M","pid":{pid},"tid":{tid},"name":"{what}","args":{{"{key}":{json.dumps(value)}}}}}'


# ---------------------------------------------------------------------- spans
def _phases(spans: _Spans, rank: int, phases: Sequence[Phase]) -> Iterator[str]:
    """Complete events of a rank's phases, outer before inner, as the viewer requires."""
    tid = spans.thread(rank, PHASES)
    for phase in sorted(phases, key=lambda phase: (phase.start_s, -phase.end_s)):
        start_ns, end_ns = spans.ns([phase.start_s, phase.end_s]).tolist()
        point = _Point(start_ns, rank + 1, tid)
        yield f'{{"ph":"X",{point},"dur":{(end_ns - start_ns) / 1000},"cat":"phase","name":{_text(phase.name)}}}'


def _complete(spans: _Spans) -> Iterator[str]:
    for pid, tid, _, activity, start_ns, end_ns, at in spans.rows:
        op = spans.ops[at]
        name = _text(f"{op.name}: waiting" if activity == _WAITS else op.name)
        yield (
            f'{{"ph":"X","pid":{pid},"tid":{tid},"ts":{start_ns / 1000},"dur":{(end_ns - start_ns) / 1000},'
            f'"cat":"{ACTIVITIES[activity]}","name":{name},"args":{{{_arguments(op)}}}}}'
        )


def _arguments(op: Op) -> str:
    """The fields of an op as JSON members; zeros and empty strings are left out."""
    texts = (
        ("kind", op.kind), ("run_as", op.run_as), ("group", op.group), ("source", op.source), ("phase", op.phase),
    )  # fmt: skip
    numbers = (
        ("bytes", op.bytes), ("flops", op.flops), ("other_bytes", op.other_bytes), ("kernels", op.kernels),
        ("uncounted", op.uncounted),
    )  # fmt: skip
    places = (("peer", op.peer), ("stage", op.stage), ("microbatch", op.microbatch), ("live_bytes", op.live_bytes))
    parts = [f'"{key}":{_text(value)}' for key, value in texts if value]
    parts += [f'"{key}":{value}' for key, value in numbers if value]
    parts += [f'"{key}":{value}' for key, value in places if value is not None]
    if op.group:
        parts.append(f'"seq":{op.seq}')
    if op.kind in ("send", "recv"):
        parts.append(f'"tag":{op.tag}')
    return ",".join(parts)


# ---------------------------------------------------------------------- arrows
def _arrows(spans: _Spans) -> Iterator[str]:
    """Flow events. An arrow binds to the span of its thread at that time, so every point is the start of a span."""
    collectives: dict[tuple, list[_Point]] = {}
    messages: dict[tuple, dict[str, _Point]] = {}
    names: dict[tuple, str] = {}
    seen: set[tuple] = set()
    for op, activity, point in spans.on_the_wire():
        if op.kind == "collective":
            key = (op.group, op.seq)
            if (key, op.rank) not in seen:  # where this member issued it
                collectives.setdefault(key, []).append(point)
            seen.add((key, op.rank))
            names[key] = op.name
        elif op.kind == "send":
            messages.setdefault(message_key(op), {}).setdefault("send", point)
        elif activity == _COMMUNICATES:
            messages.setdefault(message_key(op), {})["recv"] = point
    numbers = iter(range(1, len(collectives) + len(messages) + 1))
    for key, points in collectives.items():
        yield from _arrow(next(numbers), "collective", names[key], sorted(points))
    for sides in messages.values():
        if len(sides) == 2 and sides["send"].at_ns <= sides["recv"].at_ns:  # clocks of two machines may disagree
            yield from _arrow(next(numbers), "message", "message", [sides["send"], sides["recv"]])


def _arrow(number: int, category: str, name: str, points: Sequence[_Point]) -> Iterator[str]:
    if len(points) < 2:
        return
    marks = ["s", *["t"] * (len(points) - 2), "f"]
    for mark, point in zip(marks, points, strict=True):
        enclosing = ',"bp":"e"' if mark == "f" else ""
        yield f'{{"ph":"{mark}",{point},"cat":"{category}","name":{_text(name)},"id":{number}{enclosing}}}'


# ---------------------------------------------------------------------- memory
def _counter(spans: _Spans, rank: int, memory: Memory) -> Iterator[str]:
    name, unit = _text(COUNTERS[memory.unit]), _text(memory.unit)
    for at_ns, held in zip(spans.ns(memory.time_s).tolist(), memory.held.tolist(), strict=True):
        yield f'{{"ph":"C",{_Point(at_ns, rank + 1, 0)},"name":{name},"args":{{{unit}:{held:.0f}}}}}'
