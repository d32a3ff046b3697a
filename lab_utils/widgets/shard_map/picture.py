"""Draw a shard map: a card per rank on the mesh, then which part of each tensor is on which rank."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.render import kit, palette
from lab_utils.render.kit import MARGIN, WIDTHS, Picture, card, element, short, text, text_width, tip
from lab_utils.render.palette import STRONG
from lab_utils.text import bytes_text
from lab_utils.widgets.shard_map import words
from lab_utils.widgets.shard_map.picture_strips import INKS, WHOLE, Strips, paint, patterns, swatch
from lab_utils.widgets.shard_map.record import Kind
from lab_utils.widgets.shard_map.rows_and_totals import Shards, Sum
from lab_utils.widgets.shard_map.sentences import described, headline, mesh_text, part_text, rank_tip, sentence

GAP, BLOCK_GAP, LABEL = 10, 26, 17
FEW = 8  # up to this many ranks, cards have text on each bar
QUIET = {"fill": palette.QUIET_INK}


def shard_map(shards: Shards, kind: Kind, hover: bool = True, width: float = WIDTHS[0]) -> Picture:
    """Draw `Shards(ranks.run(…))` with the tensors of one kind; the same holdings give the same bytes."""
    cards = Cards(shards, 62, hover, width)
    strips = Strips(shards, kind, cards.bottom + 38, hover, width)
    said = short(sentence(shards, kind), width - 2 * MARGIN, 12.5)
    legend, below = _legend(shards, kind, strips, cards.few)
    body = [
        *cards.draw(kind), text(said, MARGIN, cards.bottom + 26, font_size=12.5, font_weight=600), *strips.draw(),
        *legend,
    ]  # fmt: skip
    return card(
        words.TITLE, headline(shards), body, width, below + 15, described=described(shards, kind),
        definitions=patterns(shards.kinds),
    )  # fmt: skip


def _legend(shards: Shards, kind: Kind, strips: Strips, outlined: bool) -> tuple[list[str], float]:
    """Return the meaning of the fills, then how to read a box, drawn, and the baseline of the last line."""
    base, x, drawn, narrow = strips.bottom + 24, float(MARGIN), [], strips.width < WIDTHS[0]
    for fill, ink, meaning in _meanings(shards, kind, outlined):
        wide = 42 + 0.9 * text_width(meaning, 11)
        if narrow and x > MARGIN and x + wide - 20 > strips.width - MARGIN:
            x, base = float(MARGIN), base + 19
        drawn += [swatch(x, base - 4, fill, ink), text(meaning, x + 22, base)]
        x += wide
    several = any(len(row.drawn) > 1 for row in strips.rows)
    foot = words.BAR if kind == "activation" else words.BOX + (words.BESIDE if several else "")
    lines = kit.wrapped(foot, strips.width - 2 * MARGIN, 11) if narrow else [foot]
    for at, line in enumerate(lines):
        drawn.append(text(line, MARGIN, base + 19 + 15 * at, fill=palette.QUIET_INK))
    return drawn, base + 19 + 15 * (len(lines) - 1)


def _meanings(shards: Shards, kind: Kind, outlined: bool) -> Iterator[tuple[str, str, str]]:
    ink = INKS[kind][0]
    if kind == "activation":
        yield ink, ink, words.KEPT
    else:
        yield ink, ink, words.ALONE
        yield paint(kind, True), ink, words.SHARED
        yield WHOLE["fill"], WHOLE["stroke"], words.THE_WHOLE if outlined else words.THE_WHOLE_TENSOR
    if any(row.differ for row in shards.rows(kind)):
        yield palette.WHOLE, STRONG, words.UNEQUAL_COPIES


class Cards:
    """The upper half: a card per rank, with a bar per kind, in labelled blocks of ranks that share all axes but one."""

    def __init__(self, shards: Shards, top: float, hover: bool, span: float = WIDTHS[0]) -> None:
        self.shards, self.top, self.hover, self.span = shards, top, hover, span
        self.few = len(shards) <= FEW
        self.blocks = _blocks(shards)
        self.legend_at = None if self.few else top + 8
        self.top += 0 if self.few else 24
        self._set_sizes(max(len(members) for _, members in self.blocks))
        self.places = dict(self._place())

    def _set_sizes(self, longest: int) -> None:
        """Set the number of cards and of blocks side by side, and the size of a card."""
        most_across = 4 if self.few else 8 if len(self.shards) <= 64 else 16
        most_across = max(1, int(most_across * self.span / WIDTHS[0]))
        lines = 2 if self.few else 8
        self.across = min(longest, most_across)
        self.beside = 1
        if longest <= most_across:
            self.beside = max(1, min(most_across // longest, -(-len(self.blocks) // lines)))
        room = self.span - 2 * MARGIN - (self.beside - 1) * BLOCK_GAP
        each = self.across * self.beside
        self.width = (room - (each - self.beside) * GAP) / each
        self.bar_left = 112 if self.few and self.width >= 320 else 10
        pitch = (19 if self.bar_left > 10 else 29) if self.few else 7.5
        self.pitch, self.head = pitch, 30 if self.few else 21
        self.has_totals = all(self._head_width(at) <= self.width - 16 for at in range(len(self.shards)))
        self.height = self.head + pitch * len(self.shards.kinds) + (4 if self.few else 3)

    def _place(self) -> Iterator[tuple[int, tuple[float, float]]]:
        """Yield the upper left corner of each rank's card; sets `bottom` and the blocks' labels."""
        self.labels: list[tuple[str, float, float]] = []
        y, block_width = self.top, self.across * (self.width + GAP) - GAP + BLOCK_GAP
        for first in range(0, len(self.blocks), self.beside):
            row = self.blocks[first : first + self.beside]
            y += LABEL if any(label for label, _ in row) else 0
            for column, (label, members) in enumerate(row):
                left = MARGIN + column * block_width
                self.labels.append((label, left, y - 5))
                for number, at in enumerate(members):
                    down, right = divmod(number, self.across)
                    yield at, (left + right * (self.width + GAP), y + down * (self.height + GAP))
            y += -(-max(len(members) for _, members in row) // self.across) * (self.height + GAP) + 2
        self.bottom = y - GAP

    def draw(self, kind: Kind) -> Iterator[str]:
        """Draw all cards, with the bar of this kind emphasised."""
        if self.legend_at is not None:
            yield from self._legend(self.legend_at, kind)
        for label, x, y in self.labels:
            if label:
                yield text(label, x, y, font_weight=600, **QUIET)
        for at, (x, y) in sorted(self.places.items()):
            marks = [self._ground(at, x, y), *self._head(at, x, y)]
            for number, each in enumerate(self.shards.kinds):
                marks += self._bar(at, self.shards.sums[each], x, y + self.head + number * self.pitch, each == kind)
            yield element("g", *marks)

    def _legend(self, y: float, kind: Kind) -> Iterator[str]:
        """Draw the legend of bars without text."""
        x = MARGIN + 10 + text_width(words.BARS, 10)
        yield text(words.BARS, MARGIN, y + 4, **QUIET)
        for each in self.shards.kinds:
            yield swatch(x, y, INKS[each][0], INKS[each][0])
            yield text(words.NAMES[each], x + 22, y + 4, font_weight=600 if each == kind else 400)
            x += 44 + text_width(words.NAMES[each], 10)

    def _ground(self, at: int, x: float, y: float) -> str:
        said = tip(rank_tip(self.shards, at), self.hover)
        look = {"fill": palette.WHOLE, "stroke": palette.CARD_EDGE, "rx": 6}
        return element(
            "rect",
            *said,
            x=x,
            y=y,
            width=self.width,
            height=self.height,
            data_rank=str(self.shards.numbers[at]),
            **look,
        )

    def _head_width(self, at: int, between: str = "") -> float:
        size, name = 11 if self.few else 9.5, words.RANK.format(rank=self.shards.numbers[at])
        return text_width(name, size + 1) + 6 + text_width(between + self._total(at), size)

    def _total(self, at: int) -> str:
        return bytes_text(self.shards.ranks[at].bytes)

    def _head(self, at: int, x: float, y: float) -> Iterator[str]:
        """Draw its number, its place on the mesh and its total bytes, as far as there is room."""
        name = words.RANK.format(rank=self.shards.numbers[at])
        where = mesh_text(self.shards.axes[at] if self.few else self.shards.axes[at][-1:])
        base, inset = (y + 19, 10) if self.few else (y + 14, 8)
        size = {"font_size": 12 if self.few else 10, "pointer_events": "none"}
        yield text(name, x + inset, base, font_weight=600, **size)
        if self.has_totals:
            yield text(self._total(at), x + self.width - inset, base, text_anchor="end", **size, **QUIET)
        if where and self._head_width(at, f"{where}    ") <= self.width - 16:
            yield text(where, x + inset + 12 + text_width(name, size["font_size"] - 1), base, **size, **QUIET)

    def _bar(self, at: int, one: Sum, x: float, y: float, chosen: bool) -> Iterator[str]:
        """Draw what other ranks have too striped, then what is only here plain, inside the outline of the whole."""
        left, top, height = x + self.bar_left, y, 5.0
        room = self.width - self.bar_left - 10
        if self.few:
            height = 9.0
            yield from self._labels(at, one, x, y + 9, chosen)
            if self.bar_left > 10:
                room -= 118
            else:
                top = y + 13
        scale = room / (self.largest or 1)
        ink = {"pointer_events": "none", "height": height, "y": top}
        if self.few and one.kind != "activation":
            yield element("rect", x=left, width=one.whole_bytes * scale, **WHOLE, **ink)
        shared, alone = (one.bytes[at] - one.alone[at]) * scale, one.alone[at] * scale
        edge = {"stroke": INKS[one.kind][0], "stroke_width": 0.8}
        for start, width, fill in ((0.0, shared, True), (shared, alone, False)):
            if width:
                look = edge | ink | {"fill": paint(one.kind, fill)}
                yield element("rect", x=left + start, width=max(0.8, width), **look)

    def _labels(self, at: int, one: Sum, x: float, base: float, chosen: bool) -> Iterator[str]:
        part = "" if one.kind == "activation" else f" · {part_text(one.bytes[at], one.whole_bytes, len(self.shards))}"
        held = bytes_text(one.bytes[at]) + part if one.bytes[at] else words.NONE
        look = {"font_size": 10.5, "pointer_events": "none", "font_weight": 600 if chosen else 400}
        yield text(words.NAMES[one.kind], x + 10, base, **look)
        yield text(held, x + self.width - 10, base, text_anchor="end", **look)

    @property
    def largest(self) -> int:
        """Bytes of the longest bar, including the outline of the whole if there are few ranks."""
        sums = self.shards.sums.values()
        wholes = [one.whole_bytes for one in sums if self.few and one.kind != "activation"]
        return max([*wholes, *(size for one in sums for size in one.bytes)], default=0)


def _blocks(shards: Shards) -> list[tuple[str, list[int]]]:
    """Group ranks that differ only in the last axis, in its order, by the label of the shared axes."""
    found: dict[tuple, list[int]] = {}
    for at in sorted(range(len(shards)), key=lambda at: [axis.at for axis in shards.axes[at]]):
        found.setdefault(shards.axes[at][:-1], []).append(at)
    return [(mesh_text(shared), members) for shared, members in found.items()]
