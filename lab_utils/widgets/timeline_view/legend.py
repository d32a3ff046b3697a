"""The legend below a timeline: paints, lanes, and phases without room for a name."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping

from lab_utils.render import palette
from lab_utils.render.kit import element, text, text_width
from lab_utils.widgets.timeline_view.layout import MARGIN, WIDTH

LINE = 19
SWATCH_WIDTH, SWATCH_HEIGHT = 20, 11
MEANING = {
    "compute": "compute",
    "communication": "communication: the wire is busy",
    "waiting": "waiting: a partner has not come yet",
    "F": "F: forward",
    "B": "B: backward, for the input",
    "W": "W: backward, for the weights",
    "BW": "BW: both backwards",
}


def rows(wire: bool, memory: bool) -> str:
    """Return what a rank's row contains, from top to bottom, if that is more than one lane."""
    lanes = ["upper lane: the rank's own stream", "lower lane: the wire"] if wire else []
    strip = ["strip below: memory held, its highest on the right"] if memory else []
    return " · ".join(lanes + strip)


def legend(
    y: float, paint: Callable[[str], str], paints: Container[str], phases: Mapping[str, str], note: str
) -> tuple[list[str], float]:
    """Return the legend of these paints, drawn with its first baseline at y, and the baseline of its last line.

    note   a line below it, `rows(...)`
    """
    entries = [(paint(name), meaning) for name, meaning in MEANING.items() if name in paints]
    entries.append((palette.LANE, "idle"))
    drawn, y = _line_up(entries, y)
    if phases:
        more, y = _line_up([(tint, f"phase {name}") for name, tint in phases.items()], y + LINE)
        drawn += more
    if note:
        y += LINE
        drawn.append(text(note, MARGIN, y, fill=palette.QUIET_INK))
    return drawn, y


def _line_up(entries: list[tuple[str, str]], y: float) -> tuple[list[str], float]:
    """Draw entries side by side, in as many lines as needed."""
    drawn: list[str] = []
    x = MARGIN
    for fill, meaning in entries:
        width = SWATCH_WIDTH + 7 + text_width(meaning, 11)
        if x > MARGIN and x + width > WIDTH - MARGIN:
            x, y = MARGIN, y + LINE
        drawn += _entry(x, y, fill, meaning)
        x += width + 18
    return drawn, y


def _entry(x: float, y: float, fill: str, meaning: str) -> Iterator[str]:
    edge = {"stroke": palette.GRID, "stroke_width": 0.8}
    yield element("rect", x=x, y=y - 9.5, width=SWATCH_WIDTH, height=SWATCH_HEIGHT, rx=1.5, fill=fill, **edge)
    yield text(meaning, x + SWATCH_WIDTH + 7, y)
