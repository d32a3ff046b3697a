"""Draw a Timeline as SVG: a row per rank with phases on top, its own stream, the wire, memory below."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import numpy as np

from lab_utils.render import palette
from lab_utils.render.kit import NAME, element, frame, label_on, pattern, short, text, text_width, time_axis, tip
from lab_utils.text import counted, percent_text, time_text
from lab_utils.timeline.timeline import Timeline, headline, kind_text, summary
from lab_utils.widgets.timeline_view import words
from lab_utils.widgets.timeline_view.layout import MARGIN, PLOT_LEFT, PLOT_RIGHT, WIDTH, Layout, layout
from lab_utils.widgets.timeline_view.legend import legend, meanings, rows_note
from lab_utils.widgets.timeline_view.marks import NO_PAINT, PAINTS, Mark, marks, op_paints, paints_of, thinnest
from lab_utils.widgets.timeline_view.memory_strip import Strips
from lab_utils.widgets.timeline_view.phases import Bands

LABEL_SIZE, SUBTITLE_SIZE = 11, 12
NUMBERS_LEFT = 350


def to_svg(timeline: Timeline, hover: bool = True) -> str:
    """Return the picture as SVG text; equal timelines give equal bytes.

    It is 900 user units wide, scaled by the viewer, and has a title and the timeline's table for screen readers. With
    `hover` marks have tooltips of op, size, source, start and duration. A notebook's cell shows pictures as images,
    without tooltips, and is half as large without them.
    """
    return _Drawing(timeline, hover).svg()


class _Drawing:
    def __init__(self, timeline: Timeline, hover: bool) -> None:
        self.timeline, self.hover = timeline, hover
        self.layout: Layout = layout(timeline)
        self.scale = (PLOT_RIGHT - PLOT_LEFT) / (timeline.makespan_s or 1.0)
        self.op_paints = op_paints(timeline.ops)
        kinds = {PAINTS[number] for number in set(self.op_paints.tolist()) - {NO_PAINT}}
        self.paints = kinds or set(palette.ACTIVITIES)  # a schedule is all computing
        tracks = timeline.world_size * (1 + self.layout.wire_tracks)
        self.thinnest = thinnest(len(timeline.spans), tracks, PLOT_RIGHT - PLOT_LEFT)
        self.bands = Bands(timeline, self.layout, self.scale, hover)
        self.strips = Strips(timeline.memory or (), timeline.start_s, self.scale, hover)

    def svg(self) -> str:
        note = rows_note(bool(self.layout.wire_tracks), bool(self.layout.memory))
        meant = meanings(self.paints, [self.timeline])
        below, end = legend(self.layout.bottom + 52, self._paint, meant, self.bands.unnamed(), note)
        height = end + MARGIN - 6
        body = [*self._header(), *self._axis(), *self._rows(), *below]
        about, described = headline(self.timeline), summary(self.timeline)
        return frame(WIDTH, height, about, described, self._definitions(), "\n".join(body))

    def _paint(self, name: str) -> str:
        look = palette.PAINTS[name]
        return look.fill if look.pattern == "plain" else f"url(#{NAME}-{name})"

    def _definitions(self) -> str:
        looks = {name: palette.PAINTS[name] for name in palette.PAINTS if name in self.paints}
        looks = {name: look for name, look in looks.items() if look.pattern != "plain"}
        return element("defs", *(pattern(f"{NAME}-{name}", look) for name, look in looks.items()))

    def _header(self) -> Iterator[str]:
        t = self.timeline
        yield text(words.TITLE, MARGIN, 34, font_size=16, font_weight=600)
        for line, content in enumerate(_subtitle(t)):
            yield text(content, MARGIN, 53 + 16 * line, fill=palette.QUIET_INK, font_size=SUBTITLE_SIZE)
        share = percent_text(t.exposed_comm_s / t.makespan_s) if t.makespan_s else percent_text(0)
        numbers = (
            (NUMBERS_LEFT, words.MAKESPAN, time_text(t.makespan_s), ""),
            (490, words.BUBBLE_FRACTION, percent_text(t.bubble_fraction), ""),
            (630, words.EXPOSED, time_text(t.exposed_comm_s), words.OF_MAKESPAN.format(share=share)),
        )
        for x, name, value, remark in numbers:
            yield text(name, x, 30, fill=palette.QUIET_INK)
            yield text(value, x, 52, font_size=18, font_weight=600)
            if remark:
                yield text(remark, x + 1.1 * text_width(value, 18) + 4, 52, fill=palette.QUIET_INK)

    def _axis(self) -> Iterator[str]:
        axis = time_axis(self.timeline.makespan_s)
        top, bottom = self.layout.top(0) - 4, self.layout.bottom
        for at_s, label in axis.ticks:
            x = PLOT_LEFT + at_s * self.scale
            yield element("line", x1=x, x2=x, y1=top, y2=bottom + 3, stroke=palette.GRID)
            yield text(label, x, bottom + 17, text_anchor="middle", fill=palette.QUIET_INK)
        yield text(words.TIME.format(unit=axis.unit), MARGIN, bottom + 17, fill=palette.QUIET_INK)

    def _rows(self) -> Iterator[str]:
        right = WIDTH - MARGIN
        yield text(words.COMPUTE, right, self.layout.top(0) - 8, text_anchor="end", fill=palette.QUIET_INK)
        for rank in range(self.timeline.world_size):
            yield element("g", *self._row(rank), data_rank=str(rank))

    def _row(self, rank: int) -> Iterator[str]:
        own_top = self.layout.top(rank) + self.layout.phases_height
        yield from self.bands.row(rank)
        yield from self._lane(rank, "own", own_top, self.layout.own)
        if self.layout.wire_tracks:
            wire_top = own_top + self.layout.own + 1
            for track in range(self.layout.wire_tracks):
                top = wire_top + track * self.layout.track
                yield from self._lane(rank, "wire", top, self.layout.track, track)
        if self.layout.memory:
            top = self.layout.top(rank) + self.layout.memory_top
            yield from self.strips.strip(rank, top, self.layout.memory, self.layout.named)
        if rank % self.layout.every == 0:
            yield from self._row_words(rank, own_top)

    def _row_words(self, rank: int, own_top: float) -> Iterator[str]:
        base = own_top + self.layout.own / 2 + 4
        yield text(words.RANK.format(rank=rank), MARGIN, base, font_weight=600)
        if self.layout.named and self.layout.wire_tracks:
            wire_base = own_top + self.layout.own + 1 + self.layout.wire / 2 + 3.5
            yield text(words.WIRE, MARGIN, wire_base, fill=palette.QUIET_INK, font_size=10)
        makespan_s = self.timeline.makespan_s
        share = self.timeline.compute_by_rank_s[rank] / makespan_s if makespan_s else 0.0
        yield text(percent_text(share), WIDTH - MARGIN, base, text_anchor="end", fill=palette.QUIET_INK)

    def _lane(self, rank: int, lane: str, top: float, height: float, track: int = 0) -> Iterator[str]:
        yield element("rect", x=PLOT_LEFT, y=top, width=PLOT_RIGHT - PLOT_LEFT, height=height, fill=palette.LANE)
        spans = self.timeline.lane(rank, lane)
        spans = spans[slice(*np.searchsorted(spans.columns.track, (track, track + 1)).tolist())]
        paints = paints_of(spans.columns, self.op_paints)
        for mark in marks(spans, paints, self.timeline.start_s, PLOT_LEFT, self.scale, self.thinnest):
            yield self._mark(mark, lane, top, height)

    def _mark(self, mark: Mark, lane: str, top: float, height: float) -> str:
        y = top + height * (1 - mark.bottom - mark.height)
        edge = {"stroke": palette.CARD, "stroke_width": 0.6} if mark.width > 3 and height > 4 else {}
        box = element(
            "rect", *tip(mark.tip, self.hover), x=mark.x, y=y, width=mark.width,
            height=height * mark.height, fill=self._paint(mark.paint), data_activity=mark.paint,
            data_lane=lane, **edge,
        )  # fmt: skip
        fits = text_width(mark.label, LABEL_SIZE) + 4 < mark.width
        named = self.layout.named and lane == "own" and mark.label and fits
        return box + (self._label(mark, y + height / 2 + 4) if named else "")

    def _label(self, mark: Mark, y: float) -> str:
        x = mark.x + mark.width / 2
        return label_on(palette.PAINTS[mark.paint], mark.label, x, y, LABEL_SIZE, pointer_events="none")


def _subtitle(timeline: Timeline) -> list[str]:
    """Return one line beside the numbers; a second one below them where the hardware's name is long."""
    said = words.SUBTITLE.format(ranks=counted(timeline.world_size, "rank"), kind=kind_text(timeline))
    if text_width(said, SUBTITLE_SIZE) <= NUMBERS_LEFT - MARGIN:
        return [said]
    first, *names = wrap(said, int((NUMBERS_LEFT - MARGIN) / (0.64 * SUBTITLE_SIZE)))
    return [first, short(" ".join(names), PLOT_RIGHT - MARGIN, SUBTITLE_SIZE)]
