"""Spans as marks: one for each span that can be seen, one for each pixel's worth of those that cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab_utils.render import palette
from lab_utils.timeline.span import Span
from lab_utils.timeline.units import bytes_text, time_text

THINNEST = 0.5  # user units: spans below this are merged
BIN = 4  # so many times as wide is the widest stretch that merged spans share
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
    spans: Iterable[Span], origin_s: float, x0: float, scale: float, thin_units: float = THINNEST
) -> Iterator[Mark]:
    """Marks of one track, `scale` user units a second. Spans must be in order of start.

    Spans thinner than thin_units share a box of at most BIN times that, in which each activity takes its share of the
    height: so thousands of ops become a density, and none is hidden by its neighbour.
    """
    thin: list[Span] = []
    for span in spans:
        if thin and _apart(thin, span) * scale > thin_units:
            yield from _merged(thin, origin_s, x0, scale)
            thin = []
        if span.duration_s * scale < thin_units:
            thin.append(span)
            continue
        yield from _merged(thin, origin_s, x0, scale)
        thin = []
        x = x0 + (span.start_s - origin_s) * scale
        yield Mark(paint_of(span), x, span.duration_s * scale, 0, 1, _label(span), _tip(span, origin_s))
    yield from _merged(thin, origin_s, x0, scale)


def _apart(thin: list[Span], span: Span) -> float:
    """More than the thinnest when the span must not share their box: it would be too wide, or hide idle time."""
    return max((span.end_s - thin[0].start_s) / BIN, span.start_s - thin[-1].end_s)


def paint_of(span: Span) -> str:
    """Name of the look in palette.PAINTS: the activity, or of a pipeline's computing which kind it is."""
    return span.op.phase if span.op.stage is not None and span.op.phase in palette.COMPUTES else span.activity


def _merged(spans: list[Span], origin_s: float, x0: float, scale: float) -> Iterator[Mark]:
    if not spans:
        return
    start_s, end_s = spans[0].start_s, spans[-1].end_s
    sums_s = {name: sum(s.duration_s for s in spans if paint_of(s) == name) for name in palette.PAINTS}
    all_s = sum(sums_s.values())
    tip = _tip_of_many(len(spans), sums_s, start_s - origin_s, end_s - start_s)
    if len(spans) == 1:
        tip = _tip(spans[0], origin_s)
    bottom = 0.0
    for name, sum_s in sums_s.items():
        height = sum_s / all_s if all_s else float(name == paint_of(spans[0]))
        if height:
            width = max((end_s - start_s) * scale, THINNEST)
            yield Mark(name, x0 + (start_s - origin_s) * scale, width, bottom, height, "", tip)
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
    if op.bytes:
        what.append(bytes_text(op.bytes))
    where = [part for part in (op.source, op.phase and f"phase {op.phase}") if part]
    when = (
        f"rank {span.rank} {span.activity}: start {time_text(span.start_s - origin_s)}, "
        f"duration {time_text(span.duration_s)}"
    )
    return "\n".join(line for line in (" · ".join(what), " · ".join(where), when) if line)


def _tip_of_many(count: int, sums_s: dict[str, float], start_s: float, duration_s: float) -> str:
    parts = ", ".join(f"{name} {time_text(sum_s)}" for name, sum_s in sums_s.items() if sum_s)
    return f"{count} short stretches ({parts})\nstart {time_text(start_s)}, duration {time_text(duration_s)}"
