"""Shared by all pictures: SVG as text, a light card with a title, a description for screen readers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from math import floor, log10
from typing import NamedTuple

from lab_utils.render import palette
from lab_utils.render.palette import Look
from lab_utils.text import time_unit


@dataclass(frozen=True)
class Axis:
    """A time axis: ticks as (seconds, label), and the unit of the labels."""

    unit: str
    ticks: tuple[tuple[float, str], ...]


class RoundStep(NamedTuple):
    """A distance between ticks, 1, 2 or 5 × 10^k, and how many decimals its multiples have."""

    size: float
    decimals: int


def round_step(length: float, most: float) -> RoundStep:
    """Return the smallest round step of which at most `most` fit into the length, which is above 0."""
    power = floor(log10(length / most))
    steps = ((factor * 10.0**exponent, exponent) for exponent in (power, power + 1) for factor in (1, 2, 5))
    return next(RoundStep(size, max(0, -exponent)) for size, exponent in steps if length / size <= most)


def round_ticks(length: float, most: float) -> tuple[list[float], int]:
    """Return 0, step, 2 step, ... up to the length, which is above 0, with `round_step`, and the step's decimals."""
    step, decimals = round_step(length, most)
    return [round(k * step, decimals) for k in range(floor(length / step + 1e-9) + 1)], decimals


def time_axis(makespan_s: float, most: int = 9) -> Axis:
    """Return at most `most` ticks at 0, step, 2 step, ... up to the makespan; step is 1, 2 or 5 × 10^k."""
    size_s, unit = time_unit(makespan_s)
    length = makespan_s / size_s
    if not length:
        return Axis(unit, ((0.0, "0"),))
    values, decimals = round_ticks(length, most - 2e-9)  # exactly `most` steps have one tick more
    texts = [f"{value:,.{decimals}f}" if value else "0" for value in values]
    return Axis(unit, tuple((value * size_s, text) for value, text in zip(values, texts, strict=True)))


NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Prefix of ids until `frame` replaces it; from Unicode's private use area, so it occurs in no text.
NAME = "\ue000"

NARROW, WIDE = frozenset("fijlrtI.,:;'|!·()[] "), frozenset("mwMW@%")


def number(value: float) -> str:
    """Format with at most two decimals, no trailing zeros, no minus zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def words(text: str) -> str:
    """Escape `text` as XML content or attribute; characters not allowed in XML become U+FFFD."""
    return escape(NOT_XML.sub("\ufffd", text), quote=True)


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """Return an SVG element. Children are SVG; `stroke_width=1` becomes stroke-width="1", `class_` class."""
    head = tag
    for name, value in attributes.items():
        text = words(value) if isinstance(value, str) else number(value)
        head += f' {name.rstrip("_").replace("_", "-")}="{text}"'
    return f"<{head}>{''.join(children)}</{tag}>" if children else f"<{head}/>"


def text(content: str, x: float, y: float, **attributes: str | float) -> str:
    """Return a text element with the start of its baseline (or its `text_anchor`) at x, y."""
    return element("text", words(content), x=x, y=y, **attributes)


def tip(said: str, hover: bool = True) -> list[str]:
    """Return a mark's tooltip, as children for its element; none without `hover`."""
    return [element("title", words(said))] if hover else []


def pattern(name: str, look: Look) -> str:
    """Return a pattern of stripes, rules or dots on the look's ground, to be used as `url(#name)`."""
    if look.pattern == "stripes":
        size, path = 8, "M-1 9 9 -1M-1 1 1 -1M7 9 9 7"
        over = [element("path", d=path, stroke=look.pattern_ink, stroke_width=1.6)]
    elif look.pattern == "rules":
        size = 6
        over = [element("rect", y=4.6, width=size, height=1.4, fill=look.pattern_ink)]
    else:
        size = 6
        over = [element("circle", cx=at, cy=at, r=0.9, fill=look.pattern_ink) for at in (1.5, 4.5)]
    ground = element("rect", width=size, height=size, fill=look.fill)
    box = {"width": size, "height": size, "patternUnits": "userSpaceOnUse"}
    return element("pattern", ground, *over, id=name, **box)


def plate(content: str, x: float, y: float, size: float, fill: str) -> str:
    """Return the plain ground for text on a pattern, whose middle is at x and whose baseline at y."""
    width = 0.9 * text_width(content, size) + 4
    left, top = float(number(x)) - width / 2, float(number(y)) - 0.9 * size
    box = {"width": width, "height": 1.15 * size, "rx": 2, "fill": fill, "pointer_events": "none"}
    return element("rect", x=left, y=top, **box)


def label_on(look: Look, content: str, x: float, y: float, size: float, **attributes: str | float) -> str:
    """Return text in the middle of a mark, on a plain plate where the mark has a pattern."""
    below = "" if look.pattern == "plain" else plate(content, x, y, size, look.fill)
    return below + text(content, x, y, text_anchor="middle", fill=look.ink, **attributes)


def text_width(content: str, size: float) -> float:
    """Return a generous estimate in user units: the viewer's fonts are unknown."""
    return size * sum(_character_width(character) for character in content)


def fitting(tries: Sequence[str], room: float, size: float) -> str:
    """Return the first of the texts that fits into the room, or the last, cut."""
    return next((each for each in tries if text_width(each, size) <= room), short(tries[-1], room, size))


def wrapped(content: str, room: float, size: float) -> list[str]:
    """Return the text in lines that fit into the room."""
    lines: list[str] = []
    for word in content.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def short(content: str, room: float, size: float) -> str:
    """Return the text, cut in the middle if it is wider than the room."""
    if (width := 0.9 * text_width(content, size)) <= room:
        return content
    keep = floor(len(content) * room / width) - 1
    return f"{content[: keep // 3]}…{content[len(content) - (keep - keep // 3) :]}"


def _character_width(character: str) -> float:
    if character in NARROW:
        return 0.38
    return 1.0 if character in WIDE or ord(character) > 0x2E80 else 0.64


MARGIN = 24
WIDTHS = (960, 740, 560)  # of a widget's picture: the widest that fits is shown, and words keep their size
TITLE = 52  # below the title and the line under it
ARROW = 4.0  # half the width of an arrow head


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing and its text: notebooks show the drawing, terminals the text."""

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
    """Return `body` on a card of width × height user units, below its title; `described` is the picture as text."""
    head = [text(title, MARGIN, 28, font_size=15, font_weight=600)]
    if subtitle:
        head.append(text(subtitle, MARGIN, 45, fill=palette.QUIET_INK))
    inside = [*([element("defs", *definitions)] if definitions else []), "\n".join([*head, *body])]
    return Picture(frame(width, height, f"{title}. {subtitle}", described, *inside), described)


def arrow(points: Sequence[tuple[float, float]], **look: str | float) -> str:
    """Draw a line through the points with a head at the last; its last segment must be horizontal or vertical."""
    *_, (x0, y0), (x1, y1) = points
    along, across = ((x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0))
    base = (x1 - along * 2 * ARROW, y1 - across * 2 * ARROW)
    wings = [(base[0] + sign * across * ARROW, base[1] + sign * along * ARROW) for sign in (1, -1)]
    look = {"stroke": palette.INK, "stroke_width": 1.4} | look
    head = element("path", d=path([(x1, y1), *wings]) + "Z", fill=look["stroke"])
    return element("path", d=path([*points[:-1], base]), fill="none", **look) + head


def path(points: Iterable[tuple[float, float]]) -> str:
    """Return straight lines through the points, as a path's d."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def slack(width: float) -> float:
    """Return from 0, in the narrowest of WIDTHS, to 1 in the widest."""
    return (width - WIDTHS[-1]) / (WIDTHS[0] - WIDTHS[-1])


# JupyterLab shows a picture in a cell as an image and crops what is wider than the cell. Without a fixed size it
# is scaled to the cell; small pictures keep theirs, otherwise they would be enlarged.
WIDEST_OF_FIXED_SIZE = 560


def frame(width: float, height: float, about: str, described: str, *inside: str) -> str:
    """Return `inside` on a card of width × height user units, with title `about` and description `described`.

    NAME, the prefix of its ids, becomes a digest of the drawing: several pictures can share a page, and what is not
    drawn, such as the last digits of a float, changes no id.
    """
    sized = {"width": width, "height": height} if width <= WIDEST_OF_FIXED_SIZE else {}
    ground = element(
        "rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, fill=palette.CARD, stroke=palette.CARD_EDGE
    )
    svg = element(
        "svg", element("title", words(about), id=f"{NAME}-title"), element("desc", words(described), id=f"{NAME}-desc"),
        ground, *inside, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {number(width)} {number(height)}", **sized,
        role="img", aria_label=about, aria_describedby=f"{NAME}-desc",
        style=f"max-width: min(100%, {number(width)}px); height: auto", font_family=palette.FONT, font_size=11,
        fill=palette.INK,
    )  # fmt: skip
    return svg.replace(NAME, "p" + sha256(svg.encode()).hexdigest()[:8])
