"""Spans as marks: one per visible span, and one per group of spans that are too thin."""

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
from lab_utils.widgets.timeline_view import words

THINNEST = 0.5  # user units: spans below this are merged
BIN = 4  # maximum width of merged spans, in multiples of the thinnest width
PAINTS = tuple(palette.PAINTS)  # activities first, in their order
NO_PAINT = 255
MOST_MARKS = 10_000  # approximate limit per picture: viewers cannot open more


@dataclass(frozen=True)
class Mark:
    """A box in one of palette.PAINTS, from x to x + width; bottom and height are fractions of the lane's height."""

    paint: str
    x: float
    width: float
    bottom: float
    height: float
    label: str
    tip: str


def thinnest(spans: int, tracks: int, width: float) -> float:
    """Return the width in user units below which spans are merged, for that many spans and tracks."""
    return max(THINNEST, tracks * width / MOST_MARKS) if spans > MOST_MARKS else THINNEST


def marks(
    spans: Spans, paints: np.ndarray, origin_s: float, x0: float, scale: float, thin_units: float = THINNEST
) -> Iterator[Mark]:
    """Yield the marks of one track, `scale` user units per second. Spans are sorted by start; `paints` index PAINTS.

    Spans thinner than thin_units share a box of at most BIN times that width, in which each paint has its share of
    the height: thousands of ops become a density, and none hides its neighbour. No box hides a pause wider than
    thin_units.
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
    """Yield (first, one past the last) of the spans that share a box."""
    if not len(start):
        return
    thin = end - start < thin_units
    cell = np.floor(start / (BIN * thin_units))
    together = thin[1:] & thin[:-1] & (cell[1:] == cell[:-1]) & (start[1:] - end[:-1] <= thin_units)
    cuts = np.flatnonzero(~together) + 1
    yield from pairwise([0, *cuts.tolist(), len(start)])


def op_paints(ops: Sequence[Op]) -> np.ndarray:
    """Return uint8[ops]: the PAINTS index of a pipeline op's kind, NO_PAINT for other ops."""
    if isinstance(ops, ScheduleOps):
        return np.array([PAINTS.index(kind) for kind in KINDS], np.uint8)[ops.kind]
    found = (
        PAINTS.index(op.phase) if op.stage is not None and op.phase in palette.COMPUTES else NO_PAINT for op in ops
    )
    return np.fromiter(found, np.uint8, len(ops))


def paints_of(columns: Columns, of_ops: np.ndarray) -> np.ndarray:
    """Return uint8[spans], PAINTS indices: the op's paint, or else the activity's."""
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


def _moved(size: str, kernels: int) -> str:
    template = (words.MOVED_BY_ONE if kernels == 1 else words.MOVED) if kernels else "{bytes}"
    return template.format(bytes=size, kernels=kernels)


def _label(span: Span) -> str:
    """Return the op's name, or "" if it equals the activity, which the colour shows."""
    return "" if span.op.name == span.activity else span.op.name


def _tip(span: Span, origin_s: float) -> str:
    """Return the tooltip: op and what ran in its place, group, size, source, phase; then activity, start, duration."""
    op = span.op
    what = [op.name]
    if op.run_as:
        what.append(words.RUN_AS.format(run_as=op.run_as))
    if op.kind == "collective":
        what.append(words.GROUP.format(group=op.group or words.WORLD, seq=op.seq))
    if op.peer is not None:
        side = words.TO_RANK if op.kind == "send" else words.FROM_RANK
        what.append(side.format(peer=op.peer, seq=op.seq, tag=op.tag))
    if op.flops:
        what.append(flops_text(op.flops))
    if moved := op.bytes + op.other_bytes:
        size = bytes_text(moved)
        what.append(_moved(size, op.kernels))
    where = [part for part in (op.source, op.phase and words.PHASE.format(phase=op.phase)) if part]
    start, duration = time_text(span.start_s - origin_s), time_text(span.duration_s)
    when = words.ACTIVITY.format(rank=span.rank, activity=span.activity, start=start, duration=duration)
    return "\n".join(line for line in (" · ".join(what), " · ".join(where), when) if line)


def _tip_of_many(count: int, sums_s: dict[str, float], start_s: float, duration_s: float) -> str:
    parts = ", ".join(f"{name} {time_text(sum_s)}" for name, sum_s in sums_s.items() if sum_s)
    many = words.SHORT_STRETCHES.format(count=count, parts=parts)
    return f"{many}\n{words.WHEN.format(start=time_text(start_s), duration=time_text(duration_s))}"
