"""What every small picture shares: a light card with a title, words for who cannot see it, both ways of showing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab_utils.render import palette
from lab_utils.render.frame import frame
from lab_utils.render.svg import element, number, text

MARGIN = 24
TITLE = 52  # below the title and the line under it
ARROW = 4.0  # half the width of an arrow's head


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing and the same in words; as the last line of a cell it is drawn, in a terminal it is read."""

    svg: str
    words: str

    def __repr__(self) -> str:
        return self.words

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.words}


def card(
    title: str, subtitle: str, body: Iterable[str], width: float, height: float, *, described: str,
    definitions: Sequence[str] = (),
) -> Picture:  # fmt: skip
    """`body` on a card of width × height user units, under its title; `described` is the picture in words."""
    head = [text(title, MARGIN, 28, font_size=15, font_weight=600)]
    if subtitle:
        head.append(text(subtitle, MARGIN, 45, fill=palette.QUIET_INK))
    inside = [*([element("defs", *definitions)] if definitions else []), "\n".join([*head, *body])]
    return Picture(frame(width, height, f"{title}. {subtitle}", described, *inside), described)


def arrow(points: Sequence[tuple[float, float]], **look: str | float) -> str:
    """A line through the points with a head at the last; the last stretch must be level or upright."""
    *_, (x0, y0), (x1, y1) = points
    along, across = ((x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0))
    base = (x1 - along * 2 * ARROW, y1 - across * 2 * ARROW)
    wings = [(base[0] + sign * across * ARROW, base[1] + sign * along * ARROW) for sign in (1, -1)]
    look = {"stroke": palette.INK, "stroke_width": 1.4} | look
    head = element("path", d=path([(x1, y1), *wings]) + "Z", fill=look["stroke"])
    return element("path", d=path([*points[:-1], base]), fill="none", **look) + head


def path(points: Iterable[tuple[float, float]]) -> str:
    """Straight lines through the points, as a path's d."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
