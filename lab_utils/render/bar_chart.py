"""Measured numbers as horizontal bars, with the values of a formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lab_utils.render import palette
from lab_utils.render.kit import MARGIN, TITLE, Picture, card, element, text, text_width, words
from lab_utils.text import bytes_text

ROW, BAR, WIDTH = 24, 14, 720
FILL, FORMULA = palette.BLUE, palette.STRONG


class Bar(NamedTuple):
    """A bar: its name, the measured value, and the value of a formula."""

    name: str
    value: float
    formula: float | None = None


def bars(
    title: str, rows: Sequence[Bar | tuple], *, say: Callable[[float], str] = bytes_text, subtitle: str = ""
) -> Picture:
    """Draw bars in order on one scale from 0; `say` formats a value, as bytes by default.

    >>> bars("Bytes sent by each rank", [("ring, rank 0", 6000, 6000), ("tree, rank 0", 8000, 8000)])

    ValueError for no bars, or a negative or infinite value.
    """
    chart = [Bar(*row) for row in rows]
    values = [value for bar in chart for value in (bar.value, bar.formula) if value is not None]
    if not values or not all(0 <= value < float("inf") for value in values):
        raise ValueError(f"bars need values of at least 0, and these are {values}")
    return _Drawing(title, subtitle, chart, max(values), say).picture()


class _Drawing:
    def __init__(self, title: str, subtitle: str, chart: list[Bar], largest: float, say: Callable) -> None:
        self.title, self.subtitle, self.chart, self.say = title, subtitle, chart, say
        self.left = MARGIN + max(text_width(bar.name, 11) for bar in chart) + 12
        room = max(text_width(say(bar.value), 11) for bar in chart) + 14
        self.scale = (WIDTH - MARGIN - room - self.left) / (largest or 1.0)
        self.has_formula = any(bar.formula is not None for bar in chart)

    def picture(self) -> Picture:
        rows = [element("g", *self._row(bar, TITLE + 6 + at * ROW)) for at, bar in enumerate(self.chart)]
        bottom = TITLE + 6 + len(self.chart) * ROW
        if self.has_formula:
            rows += self._legend(bottom + 16)
            bottom += 20
        described = "\n".join([self.title, *map(self._line, self.chart)])
        return card(self.title, self.subtitle, rows, WIDTH, bottom + MARGIN - 6, described=described)

    def _row(self, bar: Bar, top: float) -> Iterator[str]:
        base = top + ROW / 2 + 4
        yield text(bar.name, self.left - 10, base, text_anchor="end")
        width = bar.value * self.scale
        tip = element("title", words(self._line(bar)))
        y = top + (ROW - BAR) / 2
        yield element("rect", tip, x=self.left, y=y, width=max(width, 1), height=BAR, rx=2, fill=FILL)
        marked = (bar.formula or 0) * self.scale
        yield text(self.say(bar.value), self.left + max(width, marked) + 8, base, font_weight=600)
        if bar.formula is not None:
            yield _tick(self.left + marked, top + 1, ROW - 2)

    def _legend(self, base: float) -> Iterator[str]:
        yield element("rect", x=MARGIN, y=base - 9.5, width=20, height=11, rx=2, fill=FILL)
        yield text("counted", MARGIN + 27, base, fill=palette.QUIET_INK)
        yield _tick(MARGIN + 100, base - 12, 16)
        yield text("by the formula", MARGIN + 108, base, fill=palette.QUIET_INK)

    def _line(self, bar: Bar) -> str:
        counted = f"{bar.name}: {self.say(bar.value)}"
        if bar.formula is None:
            return counted
        same = bar.value == bar.formula
        return f"{counted}, {'as the formula says' if same else f'formula {self.say(bar.formula)}'}"


def _tick(x: float, y: float, height: float) -> str:
    """Draw the formula's tick, with a light edge to be visible on the bar."""
    edge = element("rect", x=x - 2.5, y=y, width=5, height=height, fill=palette.CARD)
    return edge + element("rect", x=x - 1.25, y=y, width=2.5, height=height, fill=FORMULA)
