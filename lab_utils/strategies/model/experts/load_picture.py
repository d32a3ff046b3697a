"""The experts' load as bars: choices computed and dropped, by the rank that holds the expert, and the capacity."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, TITLE, Picture, card, element, text, text_width, tip
from lab_utils.strategies.model.experts.load import Load
from lab_utils.text import counted

ROW, BAR, GAP, WIDTH, BAND, LABEL = 20, 12, 10, 720, 78, 160
MOST = 64  # experts that are drawn; words have all
_EDGE = {"fill": palette.CARD, "stroke": palette.STRONG, "stroke_width": 1.2}
_LIMIT = {"stroke": palette.INK, "stroke_width": 1.4, "stroke_dasharray": "4 3"}


def draw_load(load: Load) -> Picture:
    """Draw what each expert computed, solid, and what it dropped, hollow; a dashed line is the capacity.

    >>> draw_load(measured(model, mesh)[0])

    ValueError for a load of no experts.
    """
    if not load.chosen:
        raise ValueError(f"the load of {load.layer or 'a layer'} has no experts to draw")
    return _Drawing(load).picture()


class _Drawing:
    def __init__(self, load: Load) -> None:
        self.load, self.each = load, len(load.chosen) // load.ep
        self.drawn = min(len(load.chosen), MOST)
        self.left = MARGIN + LABEL
        largest = max([*load.chosen, load.capacity or 0, 1])
        self.room = max(text_width(self._value(expert), 11) for expert in range(self.drawn)) + 12
        self.scale = (WIDTH - MARGIN - self.room - self.left) / largest

    def picture(self) -> Picture:
        load, drops = self.load, sum(self.load.dropped)
        body, top = [], TITLE + 24
        first = top
        for rank, experts in enumerate(self._of_ranks()):
            body += self._rank(rank, experts, top)
            top += len(experts) * ROW + GAP
        body += self._capacity(first, top - GAP)
        body += self._legend(top + 14)
        more = f", of which the first {self.drawn} are drawn" if self.drawn < len(load.chosen) else ""
        title = f"Load of {counted(len(load.chosen), 'expert')}{more}: {load.layer or 'one layer'}"
        most = f"most loaded {'rank' if load.ep > 1 else 'expert'} {load.imbalance:.2f} × the mean"
        subtitle = f"{sum(load.chosen):,} choices, {drops:,} dropped; {most}"
        described = "\n".join([title, f"{subtitle}{self._limit()}", *map(self._line, range(load.ep))])
        return card(title, subtitle, body, WIDTH, top + MARGIN + 4, described=described)

    def _of_ranks(self) -> Iterator[range]:
        for first in range(0, self.drawn, self.each):
            yield range(first, min(first + self.each, self.drawn))

    def _rank(self, rank: int, experts: range, top: float) -> Iterator[str]:
        """Draw the rank's experts, with a band in its colour beside them."""
        height = len(experts) * ROW
        yield element("rect", x=MARGIN, y=top, width=BAND, height=height, rx=4, fill=palette.rank_fill(rank))
        said = [self._who(rank), f"{self.load.by_rank[rank]:,}"] if len(experts) > 1 else [self._who(rank)]
        for line, words in enumerate(said):
            base = top + height / 2 + 4 + 16 * (line - (len(said) - 1) / 2)
            yield text(words, MARGIN + BAND / 2, base, text_anchor="middle")
        for row, expert in enumerate(experts):
            yield element("g", *self._bar(expert, top + row * ROW))

    def _bar(self, expert: int, top: float) -> Iterator[str]:
        base, y = top + ROW / 2 + 4, top + (ROW - BAR) / 2
        computed, dropped = self.load.computed[expert], self.load.dropped[expert]
        yield text(f"expert {expert}", self.left - 10, base, text_anchor="end")
        said = tip(f"expert {expert}: {self._said(expert)}")
        end = self.left + computed * self.scale
        yield element("rect", *said, x=self.left, y=y, width=max(end - self.left, 1), height=BAR, fill=palette.BLUE)
        if dropped:
            yield element("rect", *said, x=end, y=y + 0.6, width=dropped * self.scale, height=BAR - 1.2, **_EDGE)
        yield text(self._value(expert), end + dropped * self.scale + 8, base)

    def _capacity(self, top: float, bottom: float) -> Iterator[str]:
        if self.load.capacity is not None:
            x = self.left + self.load.capacity * self.scale
            yield element("line", x1=x, x2=x, y1=top - 6, y2=bottom + 2, **_LIMIT)
            yield text(f"capacity {self.load.capacity:,}", x, top - 10, text_anchor="middle", fill=palette.QUIET_INK)

    def _legend(self, base: float) -> Iterator[str]:
        x = float(self.left)
        for what, look in (("computed", {"fill": palette.BLUE}), ("dropped", _EDGE)):
            if what == "computed" or any(self.load.dropped):
                yield element("rect", x=x, y=base - 9.5, width=20, height=11, **look)
                yield text(what, x + 27, base, fill=palette.QUIET_INK)
                x += 110

    def _who(self, rank: int) -> str:
        return f"rank {rank}" if self.load.ep > 1 else "every rank"

    def _value(self, expert: int) -> str:
        dropped = self.load.dropped[expert]
        return f"{self.load.computed[expert]:,}" + (f" + {dropped:,} dropped" if dropped else "")

    def _said(self, expert: int) -> str:
        dropped = self.load.dropped[expert]
        return f"{self.load.computed[expert]:,} computed" + (f", {dropped:,} dropped" if dropped else "")

    def _limit(self) -> str:
        return "" if self.load.capacity is None else f"; an expert takes at most {self.load.capacity:,}"

    def _line(self, rank: int) -> str:
        experts = range(rank * self.each, (rank + 1) * self.each)
        held = "; ".join(f"expert {expert}: {self._said(expert)}" for expert in experts)
        return f"{self._who(rank)}, {self.load.by_rank[rank]:,} computed: {held}"
