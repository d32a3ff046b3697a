"""All colours of all pictures. What is told by colour is told by a pattern too.

Hues of compute, communication and waiting are Okabe and Ito's (Color Universal Design, 2008), which stay
apart under every common colour blindness; communication carries stripes and waiting carries dots. Pictures
stand on a light card of their own, so they look the same in JupyterLab's light and dark theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CARD, CARD_EDGE = "#fcfcfa", "#d8d8d3"
LANE = "#f1f1ed"
GRID = "#dcdcd6"
MEMORY = "#b7a6d6"  # lilac: no activity wears it
INK, QUIET_INK = "#1f2328", "#57606a"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Look:
    """How one activity is painted: ground, ink of its pattern, ink of the words on it."""

    fill: str
    pattern: Literal["plain", "stripes", "dots", "rules"]
    pattern_ink: str
    ink: str


ACTIVITIES = {
    "compute": Look("#0072b2", "plain", "#0072b2", "#ffffff"),
    "communication": Look("#e69f00", "stripes", "#c98500", INK),
    "waiting": Look("#f3dbe8", "dots", "#b0568a", INK),
}

# What a pipeline computes, by kind of op. BW, both backwards at once, wears the colours of both.
COMPUTES = {
    "F": ACTIVITIES["compute"],
    "B": Look("#009e73", "plain", "#009e73", "#ffffff"),
    "W": Look("#56b4e9", "dots", "#1f78a8", INK),
    "BW": Look("#009e73", "rules", "#56b4e9", "#ffffff"),
}
PAINTS = ACTIVITIES | COMPUTES

# Phases have many names: quiet tints, told apart by the name that stands in them or in the legend.
PHASES = ("#d7e3ee", "#ece3c8", "#d9e8d6", "#eadcd6", "#dedaea", "#d3e8e6", "#e6e4dc", "#efdbe4")


def phase_fill(position: int) -> str:
    """Tint of the phase whose name is the `position`-th to appear."""
    return PHASES[position % len(PHASES)]
