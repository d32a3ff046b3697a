"""Pack timelines as arrays for the browser: spans or program, ops, phases and memory in one buffer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lab_utils.render import palette
from lab_utils.schedule.costs import SchedulePrediction
from lab_utils.timeline.memory import Memory, rises_of
from lab_utils.timeline.ops import Op, message_key
from lab_utils.timeline.simulator import simulate
from lab_utils.timeline.simulator.program import Program
from lab_utils.timeline.simulator.trace_to_streams import FIRST_COMPUTE, Lowered
from lab_utils.timeline.span import ACTIVITIES
from lab_utils.timeline.timeline import Timeline, busy_text
from lab_utils.widgets.timeline_view.layout import nested
from lab_utils.widgets.timeline_view.marks import NO_PAINT, PAINTS, op_paints
from lab_utils.widgets.timeline_view.sliders import PER_STAGE, by_stage, numbers, numbers_of_costs

CODES = {np.dtype(np.float64): "f8", np.dtype(np.int32): "i4", np.dtype(np.uint8): "u1"}


class Pack:
    """Collects named arrays, and deduplicated texts."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self.table: dict[str, tuple[str, int, int]] = {}  # name → type, first byte, length

    def add(self, name: str, values: object, kind: type = np.int32) -> None:
        array = np.ascontiguousarray(values, kind)
        self.table[name] = (CODES[array.dtype], self._size, array.size)
        content = array.tobytes() + bytes(-array.nbytes % 8)  # aligned, as the browser's typed arrays require
        self._parts.append(content)
        self._size += len(content)

    def texts(self, name: str, texts: Iterable[str]) -> None:
        self.add(name, [self._texts.setdefault(text, len(self._texts)) for text in texts])

    @property
    def strings(self) -> list[str]:
        return list(self._texts)

    @property
    def data(self) -> bytes:
        return b"".join(self._parts)


def pack_timeline(pack: Pack, prefix: str, timeline: Timeline, layouts: Iterable[int | None]) -> dict[str, Any]:
    """Add a timeline's arrays under names that begin with `prefix`; return the other facts the browser needs.

    A predicted timeline is sent as its program, which the browser places itself, a measured one as its spans.
    `layouts`: the numbers of ranks per node for which costs may be needed.
    """
    ops = timeline.ops
    paints = op_paints(ops)
    _pack_ops(pack, prefix, ops, paints)
    about = {
        "prefix": prefix, "kind": timeline.kind, "name": getattr(timeline.prediction, "name", ""),
        "busy": busy_text(timeline), "ranks": timeline.world_size, "origin_s": timeline.start_s,
        "makespan_s": timeline.makespan_s, "first_compute": None, "setting": None,
        "activities": list(ACTIVITIES), "paint_names": list(PAINTS), "paints": _paints(paints),
    }  # fmt: skip
    if timeline.prediction is None:
        _pack_spans(pack, prefix, timeline)
        pack.add(f"{prefix}op_issue", [np.nan if op.issue_s is None else op.issue_s for op in ops], np.float64)
        pack.add(f"{prefix}op_last", _last_to_come(ops))
    else:
        about |= _pack_prediction(pack, prefix, timeline, layouts)
    return about | _pack_phases(pack, prefix, timeline) | _pack_memory(pack, prefix, timeline)


def _paints(of_ops: np.ndarray) -> list[int]:
    """Return the PAINTS indices in use: kinds of pipeline ops, and all activities if some op has no kind."""
    kinds = set(of_ops.tolist())
    return sorted(kinds - {NO_PAINT} | (set(range(len(ACTIVITIES))) if NO_PAINT in kinds or not kinds else set()))


def _pack_ops(pack: Pack, prefix: str, ops: Sequence[Op], paints: np.ndarray) -> None:
    listed = list(ops)
    for name in ("kind", "name", "run_as", "group", "source", "phase"):
        pack.texts(f"{prefix}op_{name}", [getattr(op, name) for op in listed])
    for name in ("rank", "seq", "tag", "kernels"):
        pack.add(f"{prefix}op_{name}", [getattr(op, name) for op in listed])
    for name in ("bytes", "flops", "other_bytes"):
        pack.add(f"{prefix}op_{name}", [getattr(op, name) for op in listed], np.float64)
    pack.add(f"{prefix}op_peer", [-1 if op.peer is None else op.peer for op in listed])
    pack.add(f"{prefix}op_paint", paints, np.uint8)


def _pack_spans(pack: Pack, prefix: str, timeline: Timeline) -> None:
    c = timeline.columns
    for name, kind in (("rank", np.int32), ("lane", np.uint8), ("track", np.int32), ("activity", np.uint8)):
        pack.add(prefix + name, getattr(c, name), kind)
    pack.add(f"{prefix}start", c.start_s, np.float64)
    pack.add(f"{prefix}end", c.end_s, np.float64)
    pack.add(f"{prefix}op", c.op)


def _last_to_come(ops: Sequence[Op]) -> list[int]:
    """Return per op the position of the side of its collective or message that was issued last before it was done.

    -1 for compute ops, or if a side is missing (timeline/measured.py then lets it wait to its end).
    """
    sides: dict[tuple, dict[int, int]] = {}  # collective or message → first position of each rank's side
    for at, op in enumerate(ops):
        if op.kind in ("collective", "send", "recv"):
            sides.setdefault(_meeting(op), {}).setdefault(op.rank, at)
    return [_last(ops, op, sides.get(_meeting(op), {}) if op.kind != "compute" else {}) for op in ops]


def _last(ops: Sequence[Op], op: Op, sides: dict[int, int]) -> int:
    wanted = set(op.ranks) if op.kind == "collective" else {op.rank, op.peer}
    if not wanted <= sides.keys():
        return -1
    came = [at for at in sides.values() if op.done_s is None or ops[at].issue_s <= op.done_s]
    return max(came, key=lambda at: ops[at].issue_s, default=-1)


def _meeting(op: Op) -> tuple:
    return (op.group, op.seq) if op.kind == "collective" else message_key(op)


def _pack_prediction(pack: Pack, prefix: str, timeline: Timeline, layouts: Iterable[int | None]) -> dict[str, Any]:
    made_from = timeline.prediction
    _pack_program(pack, prefix, made_from.times.program)
    if getattr(made_from, "lowered", None) is None:
        _pack_schedule(pack, prefix, made_from)
        return {"first_compute": 0, "setting": numbers_of_costs(made_from.costs)}
    _pack_lowered(pack, prefix, made_from.lowered, layouts)
    return {"first_compute": FIRST_COMPUTE, "setting": numbers(made_from.hardware)}


def _pack_schedule(pack: Pack, prefix: str, made_from: SchedulePrediction) -> None:
    """Pack a schedule: every node computes on its rank's stream."""
    schedule, costs = made_from.schedule, made_from.costs
    nodes = np.arange(len(schedule))
    pack.add(f"{prefix}own", np.stack((schedule.rank, nodes, np.full_like(nodes, -1), nodes), axis=1))
    pack.add(f"{prefix}wire", [])
    for name in PER_STAGE:
        pack.add(f"{prefix}{name}", by_stage(costs, name, schedule.stages), np.float64)
    pack.add(f"{prefix}op_held", made_from.held_by_op, np.float64)


def _pack_program(pack: Pack, prefix: str, program: Program) -> None:
    for name in ("first", "cost_class", "edge_first", "edge_from"):
        pack.add(prefix + name, getattr(program, name))
    pack.add(f"{prefix}edge_class", program.edge_class, np.uint8)


def _pack_lowered(pack: Pack, prefix: str, lowered: Lowered, layouts: Iterable[int | None]) -> None:
    pack.add(f"{prefix}own", lowered.own)
    pack.add(f"{prefix}wire", lowered.wire)
    pack.add(f"{prefix}compute", lowered.compute, np.float64)
    for ranks_per_node in layouts:
        name = "null" if ranks_per_node is None else ranks_per_node
        pack.add(f"{prefix}wire_rows_{name}", lowered.rows(ranks_per_node), np.float64)


def _pack_phases(pack: Pack, prefix: str, timeline: Timeline) -> dict[str, Any]:
    """Pack phases: of a predicted timeline as first and last node, since they move with their ops."""
    placed = [(rank, level, phase) for rank, phases in enumerate(timeline.phases) for level, phase in nested(phases)]
    names = [phase.name for _, _, phase in placed]
    tints = {name: position % len(palette.PHASES) for position, name in enumerate(dict.fromkeys(names))}
    pack.add(f"{prefix}phase_rank", [rank for rank, _, _ in placed])
    pack.add(f"{prefix}phase_level", [level for _, level, _ in placed])
    pack.texts(f"{prefix}phase_name", names)
    pack.add(f"{prefix}phase_tint", [tints[name] for name in names], np.uint8)
    if timeline.prediction is None:
        pack.add(f"{prefix}phase_start", [phase.start_s for _, _, phase in placed], np.float64)
        pack.add(f"{prefix}phase_end", [phase.end_s for _, _, phase in placed], np.float64)
    else:
        nodes = _nodes_of_phases(timeline)
        pack.add(f"{prefix}phase_from", [nodes[id(phase)][0] for _, _, phase in placed])
        pack.add(f"{prefix}phase_to", [nodes[id(phase)][1] for _, _, phase in placed])
    return {"phase_depth": max((level + 1 for _, level, _ in placed), default=0)}


def _nodes_of_phases(timeline: Timeline) -> dict[int, tuple[int, int]]:
    """Map id of a predicted phase to the first and last node of its rank's stream."""
    made_from = timeline.prediction
    if not any(timeline.phases):
        return {}
    found: dict[int, tuple[int, int]] = {}
    for rank, phases in enumerate(timeline.phases):
        inside = simulate.phase_nodes(made_from.trace, rank, made_from.lowered)
        found |= {id(phase): nodes for phase, (_, *nodes) in zip(phases, inside, strict=True)}
    return found


def _pack_memory(pack: Pack, prefix: str, timeline: Timeline) -> dict[str, Any]:
    """Pack memory per rank: as steps, or by op if it moves with the ops (a schedule's: _pack_schedule)."""
    if not timeline.memory:
        return {"memory": None}
    made_from = timeline.prediction
    if made_from is None:
        _pack_steps(pack, prefix, timeline.memory)
    elif getattr(made_from, "lowered", None) is not None:
        _pack_rises(pack, prefix, timeline.ops)
    return {"memory": timeline.memory[0].unit}


def _pack_rises(pack: Pack, prefix: str, ops: Sequence[Op]) -> None:
    """Pack per op its live bytes, not a number where unknown, and its rises: op n's from op_rise_first[n] on."""
    rises = [[] if op.live_bytes is None else rises_of(op, predicted=True) for op in ops]
    each = [rise for of_op in rises for rise in of_op]
    pack.add(f"{prefix}op_live", [np.nan if op.live_bytes is None else op.live_bytes for op in ops], np.float64)
    pack.add(f"{prefix}op_rise_first", np.cumsum([0, *map(len, rises)]))
    pack.add(f"{prefix}rise_part", [part for part, _ in each], np.float64)
    pack.add(f"{prefix}rise_held", [held for _, held in each], np.float64)


def _pack_steps(pack: Pack, prefix: str, memory: Sequence[Memory]) -> None:
    pack.add(f"{prefix}memory_first", np.cumsum([0, *(len(each.held) for each in memory)]))
    pack.add(f"{prefix}memory_time", np.concatenate([each.time_s for each in memory]), np.float64)
    pack.add(f"{prefix}memory_held", np.concatenate([each.held for each in memory]), np.float64)
