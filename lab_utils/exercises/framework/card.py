"""The result of a check: a small card with ○ not yet, ● kept, ✓ right or ✗ wrong, and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

from lab_utils.exercises.framework.words import Card as say
from lab_utils.render.palette import BLUE, FONT, STRONG, THEME_CARD, THEME_EDGE, THEME_INK, THEME_QUIET_INK, UNJUDGED

State = Literal["open", "kept", "right", "wrong"]
SIGNS = {"open": "○", "kept": "●", "right": "✓", "wrong": "✗"}
# The colours of the parity badge.
EDGES = {"open": UNJUDGED, "kept": UNJUDGED, "right": BLUE, "wrong": STRONG}


@dataclass(frozen=True, slots=True)
class Card:
    """Result of one check: a sentence, further lines, and hints that are folded until clicked."""

    exercise: str
    state: State
    sentence: str
    lines: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        head = f"{SIGNS[self.state]} {self.exercise} {self.sentence}"
        hints = (say.hint.format(hint=hint) for hint in self.hints)
        return "\n".join([head, *(f"  {line}" for text in (*self.lines, *hints) for line in text.splitlines())])

    def _repr_html_(self) -> str:
        edge = f"border-left:6px solid {EDGES[self.state]};"
        label = say.label.format(exercise=self.exercise, said=say.said[self.state])
        lines = "".join(f'<div style="white-space:pre-wrap">{escape(line)}</div>' for line in self.lines)
        hints = "".join(_folded(number, hint) for number, hint in enumerate(self.hints, 1))
        return (
            f'<div role="note" aria-label="{escape(label)}" style="{look(edge)}">'
            f"<b>{SIGNS[self.state]} {escape(self.exercise)}</b> {escape(self.sentence)}"
            f'<div style="color:{THEME_QUIET_INK}">{lines}</div>{hints}</div>'
        )


def look(more: str = "") -> str:
    """Return the style of a card, and what is `more` behind its border."""
    return (
        f"background:{THEME_CARD};border:1px solid {THEME_EDGE};{more}color:{THEME_INK};border-radius:6px;"
        f"padding:8px 12px;display:inline-block;max-width:800px;font-family:{escape(FONT)}"
    )


def _folded(number: int, hint: str) -> str:
    summary = escape(say.folded_hint.format(number=number))
    return f'<details style="color:{THEME_QUIET_INK}"><summary>{summary}</summary>{escape(hint)}</details>'
