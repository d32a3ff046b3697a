"""Spans as marks: one for each span that can be seen, one for each pixel's worth of those that cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lab_utils.render import palette
from lab_utils.schedule.schedule import KINDS, ScheduleOps
from lab_utils.text import bytes_text, flops_text, time_text
from lab_utils.timeline.ops import Op
from lab_utils.timeline.span import Columns, Span, Spans

THINNEST = 0.5  # user units: spans below this are merged
BIN = 4  # so many times as wide is the widest stretch that merged spans share
PAINTS = tuple(palette.PAINTS)  # the first of them are the activities, in their order
NO_PAINT = 255
MOST_MARKS = 10_000  # about so many in one picture, or nobody can open it


@dataclass(frozen=True)
class Mark:
    """A box in one of palette.PAINTS: from x to x + width, and the part of the lane's height it takes (0: bottom)."""

    paint: str
    x: float
    width: float
    bottom: float
    height: float
    label: str
    tip: str


def thinnest(spans: int, tracks: int, width: float) -> float:
    """User units below which spans are merged, in a picture of so many spans on so many tracks of this width."""
    return max(THINNEST, tracks * width / MOST_MARKS) if spans > MOST_MARKS else THINNEST


def marks(
    spans: Spans, paints: np.ndarray, origin_s: float, x0: float, scale: float, thin_units: float = THINNEST
) -> Iterator[Mark]:
    """Marks of one track, `scale` user units a second. Spans are in order of start; `paints` numbers PAINTS.

    Spans thinner than thin_units share a box of at most BIN times that, in which each paint takes its share of the
    height: so thousands of ops become a density, and none is hidden by its neighbour. No box hides a pause that is
    wider than thin_units.
    """
    columns = spans.columns
    start, end = (columns.start_s - origin_s) * scale, (columns.end_s - origin_s) * scale
    for first, last in _boxes(start, end, thin_units):
        if last - first > 1:
            yield from _merged(spans[first:last], paints[first:last], origin_s, x0, scale)
            continue
        width = max(float(end[first] - start[first]), THINNEST)
        span, wide = spans[first], width >= thin_units
        yield Mark(
            PAINTS[paints[first]], x0 + float(start[first]), width, 0.0, 1.0, _label(span) if wide else "",
            _tip(span, origin_s),
        )  # fmt: skip


def _boxes(start: np.ndarray, end: np.ndarray, thin_units: float) -> Iterator[tuple[int, int]]:
    """(first, one past the last) of the spans that share a box."""
    if not len(start):
        return
    thin = end - start < thin_units
    cell = np.floor(start / (BIN * thin_units))
    together = thin[1:] & thin[:-1] & (cell[1:] == cell[:-1]) & (start[1:] - end[:-1] <= thin_units)
    cuts = np.flatnonzero(~together) + 1
    yield from pairwise([0, *cuts.tolist(), len(start)])


def op_paints(ops: Sequence[Op]) -> np.ndarray:
    """uint8[ops]: of a pipeline's computing the number of its kind in PAINTS, NO_PAINT for other ops."""
    if isinstance(ops, ScheduleOps):
        return np.array([PAINTS.index(kind) for kind in KINDS], np.uint8)[ops.kind]
    found = (
        PAINTS.index(op.phase) if op.stage is not None and op.phase in palette.COMPUTES else NO_PAINT for op in ops
    )
    return np.fromiter(found, np.uint8, len(ops))


def paints_of(columns: Columns, of_ops: np.ndarray) -> np.ndarray:
    """uint8[spans], numbers of PAINTS: what its op wears, or else what it does."""
    own = of_ops[columns.op]
    return np.where(own == NO_PAINT, columns.activity, own)


def _merged(spans: Spans, paints: np.ndarray, origin_s: float, x0: float, scale: float) -> Iterator[Mark]:
    c = spans.columns
    start_s, end_s = float(c.start_s[0]), float(c.end_s[-1])
    sums_s = np.bincount(paints, c.end_s - c.start_s, len(PAINTS)).tolist()
    all_s = sum(sums_s)
    tip = _tip_of_many(len(spans), dict(zip(PAINTS, sums_s, strict=True)), start_s - origin_s, end_s - start_s)
    x, width, bottom = x0 + (start_s - origin_s) * scale, max((end_s - start_s) * scale, THINNEST), 0.0
    for number, sum_s in enumerate(sums_s):
        height = sum_s / all_s if all_s else float(number == paints[0])
        if height:
            yield Mark(PAINTS[number], x, width, bottom, height, "", tip)
        bottom += height


def _label(span: Span) -> str:
    """The op's name; a stretch that is merely called compute says so by its colour."""
    return "" if span.op.name == span.activity else span.op.name


def _tip(span: Span, origin_s: float) -> str:
    """What hovering shows: op, group and number, size, source, phase; then activity, start and duration."""
    op = span.op
    what = [op.name]
    if op.kind == "collective":
        what.append(f"group {op.group or 'world'}, number {op.seq}")
    if op.peer is not None:
        what.append(f"{'to' if op.kind == 'send' else 'from'} rank {op.peer}, number {op.seq}, tag {op.tag}")
    if op.flops:
        what.append(flops_text(op.flops))
    if moved := op.bytes + op.other_bytes:
        what.append(bytes_text(moved) + (f" moved by {op.kernels} kernels" if op.kernels else ""))
    where = [part for part in (op.source, op.phase and f"phase {op.phase}") if part]
    when = (
        f"rank {span.rank} {span.activity}: start {time_text(span.start_s - origin_s)}, "
        f"duration {time_text(span.duration_s)}"
    )
    return "\n".join(line for line in (" · ".join(what), " · ".join(where), when) if line)


def _tip_of_many(count: int, sums_s: dict[str, float], start_s: float, duration_s: float) -> str:
    parts = ", ".join(f"{name} {time_text(sum_s)}" for name, sum_s in sums_s.items() if sum_s)
    return f"{count} short stretches ({parts})\nstart {time_text(start_s)}, duration {time_text(duration_s)}"
