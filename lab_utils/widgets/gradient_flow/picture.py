"""Draw gradient flow: a row per layer from the output backwards, a lane per rank, each bucket with its ops."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lab_utils.render import kit, palette
from lab_utils.render.kit import MARGIN, NAME, WIDTHS, Picture, card, element, pattern, short, text, text_width, tip
from lab_utils.render.palette import ACTIVITIES, Look, rank_fill
from lab_utils.text import bytes_text, columns
from lab_utils.widgets.gradient_flow import words
from lab_utils.widgets.gradient_flow.flow import FlowPicture, Line, OnWire
from lab_utils.widgets.gradient_flow.picture_columns import Side, side_columns
from lab_utils.widgets.gradient_flow.tooltips import layer_tip, wire_tip

# Rows drawn together: a bucket's gradients and its ops, a stage's gradients and what it sends on.
Block = tuple[
    int, list[tuple[Line, int | None]]
]  # the number of layers, taken in the flow's order; (line, its bucket) below them


def blocks(flow: FlowPicture) -> Iterator[Block]:
    """Yield blocks from the output backwards; messages go where the last was sent, other lines come last."""
    messages = sorted((line for line in flow.others if line.at_s is not None), key=lambda line: line.at_s)
    layers, lines = 0, []
    for at_s, bucket, members in _anchors(flow):
        while messages and messages[0].at_s < at_s:
            lines.append((messages.pop(0), None))
        if layers + len(lines) and (lines or bucket is not None):
            yield layers, lines
            layers, lines = 0, []
        if bucket is None:
            layers += members
        else:
            yield members, [(flow.lines[bucket], bucket)]
    lines += [(line, None) for line in [*messages, *(line for line in flow.others if line.at_s is None)]]
    if layers + len(lines):
        yield layers, lines


def _anchors(flow: FlowPicture) -> Iterator[tuple[float, int | None, int]]:
    """Yield (time, bucket, number of layers) per bucket, then per layer without a bucket, in the flow's order."""
    for bucket, line in enumerate(flow.lines):
        at_s = min((wire.met_s for wire in line.ops), default=math.inf)
        yield at_s, bucket, sum(layer.bucket == bucket for layer in flow.layers)
    for at, layer in enumerate(flow.layers):
        if layer.bucket is None:
            times_s = [row[at] for row in flow.ready_s if row[at] is not None]
            yield min(times_s, default=math.inf), None, 1


TOP = 92
GAP = 9  # between buckets
LOOKS = {name: ACTIVITIES[name] for name in ("communication", "waiting")}
QUIET = {"fill": palette.QUIET_INK}


def gradient_flow(flow: FlowPicture, hover: bool = True) -> Picture:
    """Draw `FlowPicture.of(trace, records)`; the same flow gives the same bytes."""
    return Drawing(flow, hover).picture()


class Drawing:
    """Row layout; `rows` (top of each layer), `left` and `right` (ends of the time axis) serve the widget's pointer."""

    def __init__(self, flow: FlowPicture, hover: bool = True, width: float = WIDTHS[0]) -> None:
        self.flow, self.hover, self.width = flow, hover, width
        self.left = 112 + 104 * kit.slack(width)
        self.sides: list[Side] = side_columns(flow, kit.slack(width))
        self.right = width - MARGIN - sum(side.width for side in self.sides)
        self.scale = (self.right - self.left) / (flow.end_s or 1.0)
        self.lane = max(1.2, min(6.0, 24 / flow.world_size))
        self.row = max(18.0, flow.world_size * self.lane + 4)
        self.band = max(14.0, flow.world_size * (self.lane + 1.5) + 3)
        self.layout()

    def layout(self) -> None:
        """Set `rows`: top of each layer; `bands`: (line, bucket or None, top); `blocks`: their (top, bottom)."""
        self.rows: list[float] = []
        self.bands: list[tuple[Line, int | None, float]] = []
        self.blocks: list[tuple[float, float]] = []
        y = float(TOP)
        for layers, lines in blocks(self.flow):
            top = y
            self.rows += [top + at * self.row for at in range(layers)]
            y += layers * self.row
            for line, bucket in lines:
                self.bands.append((line, bucket, y))
                y += self.band
            self.blocks.append((top, y))
            y += GAP
        self.bottom = y - GAP

    def x(self, at_s: float) -> float:
        return self.left + at_s * self.scale

    def picture(self) -> Picture:
        legend, height = self._legend(self.bottom + 42)
        body = [*self._blocks(), *self._axis()]
        for at in range(len(self.rows)):
            body.append(element("g", *self._layer(at), data_layer=str(at)))
        moving = [*self._ready(), *(mark for band in self.bands for mark in self._wire(*band))]
        body += [*self._heads(), element("g", *moving, data_part="time"), *legend]
        described = "\n".join([f"{self.flow.title}: {self.flow.headline()}", *columns(self.flow.table())])
        patterns = [pattern(f"{NAME}-{name}", look) for name, look in LOOKS.items()]
        return card(
            self.flow.title, self.flow.headline(), body, self.width, height, described=described, definitions=patterns
        )

    def _blocks(self) -> Iterator[str]:
        for top, bottom in self.blocks:
            yield element(
                "rect", x=MARGIN - 8, y=top - 2, width=self.width - 2 * MARGIN + 16, height=bottom - top + 4, rx=5,
                fill=palette.LANE,
            )  # fmt: skip
        for line, bucket, top in self.bands:
            names = [line.name]
            if bucket is not None:
                size = bytes_text(self.flow.buckets[bucket].bytes)
                names.insert(0, words.BUCKET_HEAD.format(bucket=bucket, bytes=size))
            if self.band < 26 or text_width(" · ".join(names), 10) <= self.left - MARGIN:
                names = [" · ".join(names)]
            if self.width < WIDTHS[0] and bucket is not None:
                short_name = words.BUCKET.format(bucket=bucket)
                names = [kit.fitting([*names, short_name], self.left - MARGIN - 6, 10)]
            for at, said in enumerate(names):
                y = top + self.band / 2 + 3.5 + 12 * (at - (len(names) - 1) / 2)
                yield text(short(said, self.left - MARGIN - 6, 10), MARGIN, y, font_size=10, **QUIET)

    def _axis(self) -> Iterator[str]:
        axis = kit.time_axis(self.flow.end_s, 7 if self.width == WIDTHS[0] else max(3, (self.right - self.left) // 55))
        for at_s, label in axis.ticks:
            x = self.x(at_s)
            yield element("line", x1=x, x2=x, y1=TOP - 6, y2=self.bottom + 3, stroke=palette.GRID)
            yield text(label, x, self.bottom + 16, text_anchor="middle", **QUIET)
        yield text(words.TIME.format(unit=axis.unit), MARGIN, self.bottom + 16, **QUIET)

    def _heads(self) -> Iterator[str]:
        yield text(kit.fitting(words.LAYERS, self.left - MARGIN, 11), MARGIN, TOP - 14, **QUIET)
        wide = self.width == WIDTHS[0]
        times = words.TIMES[0] if wide else kit.fitting(words.TIMES, self.right - self.left, 11)
        yield text(times, self.left, TOP - 14, **QUIET)
        x = self.right
        for side in self.sides:
            yield text(side.head, x + side.pad, TOP - 14, **QUIET)
            x += side.width

    def _layer(self, at: int) -> Iterator[str]:
        layer, top = self.flow.layers[at], self.rows[at]
        yield element(
            "rect", *tip(layer_tip(self.flow, at), self.hover), x=MARGIN - 6, y=top, width=self.width - 2 * MARGIN + 12,
            height=self.row, rx=3, fill="transparent", data_row=str(at),
        )  # fmt: skip
        base = top + self.row / 2 + 4
        yield text(short(layer.name, self.left - MARGIN - 8, 11), MARGIN, base, pointer_events="none")
        x = self.right
        for side in self.sides:
            yield element("g", *side.draw(layer, x + side.pad, top, self.lanes(top, self.row)), pointer_events="none")
            x += side.width

    def lanes(self, top: float, height: float) -> list[tuple[float, float]]:
        """Return (top, height) of each rank's lane in a row."""
        ranks = self.flow.world_size
        lane = self.lane if height == self.row else self.lane + 1.5
        first = top + (height - ranks * lane) / 2
        return [(first + rank * lane, lane) for rank in range(ranks)]

    def _ready(self) -> Iterator[str]:
        for at, layer in enumerate(self.flow.layers):
            for rank, (top, height) in enumerate(self.lanes(self.rows[at], self.row)):
                y, size = top + height / 2, max(1.0, min(3.2, 0.55 * height))
                *earlier, ready_s = self.flow.came_s[rank][at] or (None,)
                if ready_s is None:
                    continue
                if layer.bucket is not None and (wires := self.flow.lines[layer.bucket].of(rank)):
                    yield from self._in_bucket(y, height, ready_s, wires)
                for at_s in earlier:
                    yield self._dot(at_s, y, 0.5 * size, rank, data_earlier=str(rank))
                yield self._dot(ready_s, y, size, rank, data_ready=str(rank))

    def _dot(self, at_s: float, y: float, size: float, rank: int, **named: str) -> str:
        look = {"fill": rank_fill(rank), "stroke": palette.INK, "stroke_width": 0.9, "pointer_events": "none"}
        return element("circle", cx=self.x(at_s), cy=y, r=size, **look, **named)

    def _in_bucket(self, y: float, height: float, ready_s: float, wires: list[OnWire]) -> Iterator[str]:
        """Draw a line while the gradient waits in its bucket, and a tick when the reduced gradient is back."""
        ink, sent_s = {"stroke": palette.THREAD, "pointer_events": "none"}, wires[0].issue_s
        if sent_s > ready_s:
            yield element("line", x1=self.x(ready_s), x2=self.x(sent_s), y1=y, y2=y, stroke_width=1, **ink)
        x, half = self.x(wires[-1].done_s), 0.42 * height
        yield element("line", x1=x, x2=x, y1=y - half, y2=y + half, **(ink | {"stroke": palette.INK}), stroke_width=1.6)

    def _wire(self, line: Line, bucket: int | None, top: float) -> Iterator[str]:
        """Draw a line's bars: dotted while waiting for another rank, striped while communicating."""
        marks = []
        for rank, (y, height) in enumerate(self.lanes(top, self.band)):
            for wire in line.of(rank):
                for name, a, b in (("waiting", wire.issue_s, wire.met_s), ("communication", wire.met_s, wire.done_s)):
                    if b > a or name == "communication":
                        marks.append(self._bar(name, self.x(a), max(0.8, (b - a) * self.scale), y, height, wire))
        named = {} if bucket is None else {"data_bucket": str(bucket)}
        yield element("g", *marks, **named) if marks else ""

    def _bar(self, name: str, x: float, width: float, y: float, height: float, wire: OnWire) -> str:
        said = tip(wire_tip(wire), self.hover)
        edge = {"stroke": LOOKS[name].pattern_ink, "stroke_width": 0.6}
        fill = f"url(#{NAME}-{name})"
        return element(
            "rect", *said, x=x, y=y + 0.6, width=width, height=max(1.0, height - 1.2), rx=1.2, fill=fill, **edge
        )

    def _legend(self, base: float) -> tuple[list[str], float]:
        drawn, x = [], float(MARGIN)
        for mark, said in self._entries():
            width = 38 + text_width(said, 11)
            if x > MARGIN and x + width > self.width - MARGIN:
                x, base = float(MARGIN), base + 19
            drawn += [element("g", mark, transform=f"translate({x:g} {base - 4:g})"), text(said, x + 22, base)]
            x += width
        return drawn, base + 16

    def _entries(self) -> Iterator[tuple[str, str]]:
        ranks = self.flow.world_size
        for rank in range(min(ranks, 4)):
            said = words.RANK_AND_SO_ON if rank == 3 and ranks > 4 else words.RANK
            yield _dot(rank), said.format(rank=rank)
        stroke = element("line", x1=8, x2=8, y1=-5, y2=5, stroke=palette.INK, stroke_width=1.6)
        if self.flow.buckets:
            yield element("line", x1=0, x2=16, y1=0, y2=0, stroke=palette.THREAD), words.IN_BUCKET
        wires = [wire for line, _, _ in self.bands for wire in line.ops]
        if any(wire.met_s > wire.issue_s for wire in wires):
            yield self._swatch("waiting", LOOKS["waiting"]), words.WAITING
        if wires:
            yield self._swatch("communication", LOOKS["communication"]), words.ON_THE_WIRE
        if self.flow.buckets:
            yield stroke, words.BACK
        if any(len(times) > 1 for row in self.flow.came_s for times in row):
            small = element("circle", cx=8, cy=0, r=1.8, fill=rank_fill(0), stroke=palette.INK, stroke_width=0.9)
            yield small, words.EARLIER
        for side in self.sides:
            yield from side.legend()

    def _swatch(self, name: str, look: Look) -> str:
        edge = {"stroke": look.pattern_ink, "stroke_width": 0.6}
        return element("rect", x=0, y=-5, width=16, height=10, rx=1.5, fill=f"url(#{NAME}-{name})", **edge)


def _dot(rank: int) -> str:
    return element("circle", cx=8, cy=0, r=4, fill=rank_fill(rank), stroke=palette.INK, stroke_width=0.9)
