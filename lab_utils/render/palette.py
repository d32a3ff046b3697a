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


# How ranks, reductions and series are painted: each by colour and by something besides colour.
#
# Tints are light forms of Okabe and Ito's hues (palette.py), all light enough for dark words on them; a cell also
# names its rank, a reduction is striped, a series has its own dashes and mark.
RANKS = ("#a9d3f0", "#f8d48a", "#9fd9c3", "#f4b899", "#e5b8d3", "#f1e98c", "#b9c3ea", "#cfcfc8")
REDUCED = Look("#e8e8f4", "stripes", "#b9b9dd", "#1f2328")
UNKNOWN = "#ffffff"
STRONG = "#d55e00"  # the one thing to look at


def rank_fill(rank: int) -> str:
    """Tint of a rank; ranks eight apart share one, and are told apart by the number that stands beside."""
    return RANKS[rank % len(RANKS)]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a curve: its colour, its dashes ("" is solid) and the mark at its end."""

    stroke: str
    dashes: str
    mark: str


SERIES = (
    Series("#0072b2", "", "●"),
    Series("#d55e00", "7 4", "▲"),
    Series("#007a5a", "2 3", "■"),
    Series("#a8457f", "9 3 2 3", "◆"),
    Series("#57606a", "1 5", "▼"),
    Series("#8a5a00", "12 6", "★"),
)
