"""The lower half of a shard map: a row per tensor, and per rank a small picture of the part that it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from lab_utils.render import kit, palette
from lab_utils.render.kit import MARGIN, NAME, WIDTHS, element, number, pattern, short, text, tip
from lab_utils.render.palette import STRONG, Look
from lab_utils.text import bytes_text
from lab_utils.widgets.shard_map import words
from lab_utils.widgets.shard_map.record import Kind
from lab_utils.widgets.shard_map.rows_and_totals import Row, Shards
from lab_utils.widgets.shard_map.sentences import cell_tip, copies_text, row_tip, shape_text
from lab_utils.widgets.shard_map.tensor_layout import Box

INKS: dict[Kind, tuple[str, str]] = palette.TENSORS
WHOLE = {"fill": palette.WHOLE, "stroke": palette.OUTLINE, "stroke_width": 0.8}


def patterns(kinds: Iterable[Kind]) -> list[str]:
    """Return the stripe patterns of these kinds."""
    return [pattern(_pattern_name(kind), Look(INKS[kind][1], "stripes", INKS[kind][0], palette.INK)) for kind in kinds]


def paint(kind: Kind, shared: bool) -> str:
    """Return the fill of a kind; `shared` if another rank has the same part."""
    return f"url(#{_pattern_name(kind)})" if shared else INKS[kind][0]


def _pattern_name(kind: Kind) -> str:
    return f"{NAME}-{kind.replace(' ', '-')}"


def swatch(x: float, y: float, fill: str, ink: str) -> str:
    """Draw a legend sample of a fill, centred at y."""
    return element("rect", x=x, y=y - 5, width=16, height=10, rx=1.5, fill=fill, stroke=ink, stroke_width=0.8)


WIDEST, BREAK = 120, 5  # of a rank's column; between blocks of the mesh
THINNEST = 1.6  # user units: smaller parts are drawn this large
THIN = 0.4  # user units: thinner parts are left out if others are drawn
QUIET = {"fill": palette.QUIET_INK}
Part = tuple[Box, bool]  # the box, and whether another rank has the same


class Strips:
    """Draws the rows of one kind from `top` down."""

    def __init__(self, shards: Shards, kind: Kind, top: float, hover: bool, width: float = WIDTHS[0]) -> None:
        self.shards, self.kind, self.hover, self.width = shards, kind, hover, width
        slack = kit.slack(width)
        self.shape, self.left = 128 + 92 * slack, 232 + 116 * slack  # left of shapes and of pictures
        self.copies = 92 + 32 * slack  # width of the copies' text
        self.rows = shards.rows(kind)
        self.head, self.top = top, top + 22
        self.row = 26.0 if len(self.rows) <= 8 else 22.0 if len(self.rows) <= 20 else 19.0
        self.bottom = self.top + self.row * len(self.rows)
        self.lefts, self.pitch = self._columns()
        self.cell = self.pitch - (6 if self.pitch > 30 else 1.5)
        self.outline = WHOLE if self.pitch > 14 else WHOLE | {"stroke": palette.GRID, "stroke_width": 0.6}
        self.copies_left = self.lefts[-1] + self.pitch + 8
        self.largest = max((size for row in self.rows for size in row.bytes), default=0) or 1

    def _columns(self) -> tuple[list[float], float]:
        """Return the left edge of each rank's column, with a gap between blocks of the mesh, and the pitch."""
        ranks, axes = len(self.shards), self.shards.axes
        begins = [at for at in range(1, ranks) if axes[at][:-1] != axes[at - 1][:-1]]
        gap = BREAK if 2 * len(begins) <= ranks else 0.0
        pitch = min(WIDEST, (self.width - MARGIN - self.copies - self.left - gap * len(begins)) / ranks)
        return [self.left + at * pitch + gap * sum(at >= begin for begin in begins) for at in range(ranks)], pitch

    def draw(self) -> Iterator[str]:
        yield from self._heads()
        for at, row in enumerate(self.rows):
            top = self.top + at * self.row
            yield element("g", *self._row(row, at, top))

    def _heads(self) -> Iterator[str]:
        base = self.head + 13
        yield text(words.NAMES[self.kind], MARGIN, base, **QUIET)
        if self.kind != "activation":
            yield text(words.WHOLE, self.shape, base, **QUIET)
        every = 1 if self.pitch > 17 else next(n for n in (2, 4, 8, 16, 32, 64, 10**9) if n * self.pitch > 17)
        named = self.pitch > 46
        for at, rank in enumerate(self.shards.numbers):
            if at % every == 0:
                name = words.RANK.format(rank=rank) if named else str(rank)
                yield text(name, self.lefts[at] + self.cell / 2, base, text_anchor="middle", **QUIET)
        if not named:
            yield text(words.RANK_COLUMN, self.left - 8, base, text_anchor="end", **QUIET)
        yield text(words.BYTES if self.kind == "activation" else words.COPIES, self.copies_left, base, **QUIET)

    def _row(self, row: Row, at: int, top: float) -> Iterator[str]:
        said = tip(row_tip(self.shards, row), self.hover)
        base, still = top + self.row / 2 + 4, {"pointer_events": "none"}
        yield element(
            "rect", *said, x=MARGIN - 6, y=top, width=self.width - 2 * MARGIN + 12, height=self.row, rx=3,
            fill="transparent", data_row=str(at),
        )  # fmt: skip
        apart = 10 if self.width == WIDTHS[0] else 18
        yield text(short(row.name, self.shape - MARGIN - apart, 11), MARGIN, base, **still)
        whole = short(_whole(row), self.left - self.shape - 10, 10)
        yield text(whole, self.shape, base, font_size=10, **still, **QUIET)
        for rank in range(len(self.shards)):
            yield from self._cell(row, at, rank, top)
        amiss = {"fill": STRONG, "font_weight": 600} if row.differ else QUIET
        mark = words.UNEQUAL if row.differ else ""
        copies = mark + copies_text(self.shards, row)
        if self.width < WIDTHS[0]:
            copies = short(copies, self.width - MARGIN - self.copies_left, 10)
        yield text(copies, self.copies_left, base, font_size=10, **amiss, **still)

    def _cell(self, row: Row, at: int, rank: int, top: float) -> Iterator[str]:
        x, y, height = self.lefts[rank], top + 2.5, self.row - 5
        said = tip(cell_tip(self.shards, row, rank), self.hover)
        named = {"data_row": str(at), "data_rank": str(self.shards.numbers[rank])}
        yield element("rect", *said, x=x, y=y, width=self.cell, height=height, **self.outline, **named)
        yield from self._borders(row, x, y, height)
        parts = list(self._parts(row, rank))
        for shared in (True, False):
            boxes = [box for box, others in parts if others == shared]
            if boxes:
                path = "".join(_box_path(box, x, y, self.cell, height) for box in boxes)
                ink = {"fill": paint(self.kind, shared), "pointer_events": "none"}
                stroke = {"stroke": INKS[self.kind][0], "stroke_width": 0.6} if shared else {}
                yield element("path", d=path, **ink, **stroke)
        if rank in row.differ:
            look = {"fill": "none", "stroke": STRONG, "stroke_width": 2.2, "pointer_events": "none"}
            yield element("rect", x=x, y=y, width=self.cell, height=height, **look)

    def _borders(self, row: Row, x: float, y: float, height: float) -> Iterator[str]:
        """Draw borders between tensors that share a row, where they are wide enough."""
        shares = list(_shares(row))
        wide = [at * self.cell for (at, share), (_, before) in zip(shares[1:], shares, strict=False)
                if min(share, before) * self.cell > 4]  # fmt: skip
        if wide:
            path = "".join(f"M{number(x + at)} {number(y)}v{number(height)}" for at in wide)
            yield element("path", d=path, stroke=WHOLE["stroke"], stroke_width=0.8, pointer_events="none")

    def _parts(self, row: Row, rank: int) -> Iterator[Part]:
        if not row.spreads:
            if row.bytes[rank]:
                yield (0.0, 0.0, row.bytes[rank] / self.largest, 1.0), False
            return
        yield from _wide_enough(list(_joined(parts_of(row, rank))), self.cell)


def parts_of(row: Row, rank: int) -> Iterator[Part]:
    """Yield the boxes on a rank; tensors of a row are side by side, with widths proportional to bytes."""
    for spread, (position, share) in zip(row.drawn, _shares(row), strict=True):
        for held in spread.held[rank]:
            left, top, width, height = spread.box(held.piece)
            if held.numel:
                yield (position + left * share, top, width * share, height), not spread.alone_on(rank)


def _shares(row: Row) -> Iterator[tuple[float, float]]:
    """Yield (start, width) of each tensor in the row, as fractions."""
    position, whole = 0.0, sum(spread.whole_bytes for spread in row.drawn) or 1
    for spread in row.drawn:
        share = spread.whole_bytes / whole
        yield position, share
        position += share


def _joined(parts: Iterator[Part]) -> Iterator[Part]:
    """Merge parts that are adjacent to the right."""
    last: Part | None = None
    for (left, top, width, height), shared in parts:
        if last is not None:
            (l0, t0, w0, h0), s0 = last
            level = math.isclose(t0, top, abs_tol=1e-9) and math.isclose(h0, height, abs_tol=1e-9)
            if level and shared == s0 and math.isclose(l0 + w0, left, abs_tol=1e-9):
                last = (l0, t0, w0 + width, h0), s0
                continue
            yield last
        last = (left, top, width, height), shared
    if last is not None:
        yield last


def _wide_enough(parts: list[Part], cell: float) -> list[Part]:
    """Return the parts wide enough to be seen, or the widest one if none is."""
    seen = [part for part in parts if part[0][2] * cell >= THIN]
    return seen or sorted(parts, key=lambda part: -part[0][2])[:1]


def _box_path(box: Box, x: float, y: float, width: float, height: float) -> str:
    left, top, across, down = box
    wide, tall = max(THINNEST, across * width), max(THINNEST, down * height)
    corner = f"{number(x + min(left * width, width - wide))} {number(y + min(top * height, height - tall))}"
    return f"M{corner}h{number(wide)}v{number(tall)}h{number(-wide)}z"


def _whole(row: Row) -> str:
    if not row.spreads:
        return ""
    what = words.TENSORS.format(count=row.names) if row.names > 1 else shape_text(row.told[0].whole)
    return f"{what} · {bytes_text(row.whole_bytes)}"
