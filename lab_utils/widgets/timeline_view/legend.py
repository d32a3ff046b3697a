"""The legend below a timeline: paints, lanes, and phases without room for a name."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from lab_utils.render import palette
from lab_utils.render.kit import element, text, text_width
from lab_utils.timeline.timeline import Timeline
from lab_utils.widgets.timeline_view.layout import MARGIN, WIDTH
from lab_utils.widgets.timeline_view.words import IDLE, LANES, MEANING, PHASE, STRIP, WAITING_OR_QUEUED

LINE = 19
SWATCH_WIDTH, SWATCH_HEIGHT = 20, 11


def legend(
    y: float, paint: Callable[[str], str], meant: Mapping[str, str], phases: Mapping[str, str], note: str
) -> tuple[list[str], float]:
    """Return the legend, drawn with its first baseline at y, and the baseline of its last line.

    meant  `meanings(...)`
    note   a line below it, `rows_note(...)`
    """
    entries = [(paint(name), meaning) for name, meaning in meant.items()]
    entries.append((palette.LANE, IDLE))
    drawn, y = _line_up(entries, y)
    if phases:
        more, y = _line_up([(tint, PHASE.format(phase=name)) for name, tint in phases.items()], y + LINE)
        drawn += more
    if note:
        y += LINE
        drawn.append(text(note, MARGIN, y, fill=palette.QUIET_INK))
    return drawn, y


def meanings(paints: Container[str], timelines: Iterable[Timeline]) -> dict[str, str]:
    """Return what each of these paints stands for in timelines shown together.

    On the wire a predicted op also waits for the one before it in its group (span.py); of a measured one that cannot be
    told from communication.
    """
    meant = {name: meaning for name, meaning in MEANING.items() if name in paints}
    if "waiting" in meant and any(each.kind == "predicted" for each in timelines):
        meant["waiting"] = WAITING_OR_QUEUED
    return meant


def rows_note(wire: bool, memory: bool) -> str:
    """Return what a rank's row contains, from top to bottom, if that is more than one lane."""
    return " · ".join([*(LANES if wire else ()), *([STRIP] if memory else ())])


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
