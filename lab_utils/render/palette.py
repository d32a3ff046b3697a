"""All colours of all pictures. What colour distinguishes, a pattern distinguishes too.

Hues of compute, communication and waiting are Okabe and Ito's (Color Universal Design, 2008), which remain distinct
under every common colour blindness; communication has stripes and waiting has dots. Pictures have their own light
card, so they look the same in JupyterLab's light and dark themes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CARD, CARD_EDGE = "#fcfcfa", "#d8d8d3"
LANE = "#f1f1ed"
GRID = "#dcdcd6"
MEMORY = "#b7a6d6"  # lilac: not the colour of any activity
INK, QUIET_INK = "#1f2328", "#57606a"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Look:
    """The paint of an activity: ground, pattern, ink of the pattern, ink of text on it."""

    fill: str
    pattern: Literal["plain", "stripes", "dots", "rules"]
    pattern_ink: str
    ink: str


ACTIVITIES = {
    "compute": Look("#0072b2", "plain", "#0072b2", "#ffffff"),
    "communication": Look("#e69f00", "stripes", "#c98500", INK),
    "waiting": Look("#f3dbe8", "dots", "#b0568a", INK),
}

# Pipeline ops by kind. BW, both backwards at once, has the colours of both.
COMPUTES = {
    "F": ACTIVITIES["compute"],
    "B": Look("#009e73", "plain", "#009e73", "#ffffff"),
    "W": Look("#56b4e9", "dots", "#1f78a8", INK),
    "BW": Look("#009e73", "rules", "#56b4e9", "#ffffff"),
}
PAINTS = ACTIVITIES | COMPUTES

# Phases: quiet tints, distinguished by the name inside or in the legend.
PHASES = ("#d7e3ee", "#ece3c8", "#d9e8d6", "#eadcd6", "#dedaea", "#d3e8e6", "#e6e4dc", "#efdbe4")


def phase_fill(position: int) -> str:
    """Return the tint of the `position`-th phase name to appear."""
    return PHASES[position % len(PHASES)]


# Ranks, reductions and series. Tints are light forms of Okabe and Ito's hues, light enough for dark text; besides
# colour a cell names its rank, a reduction is striped, a series has its own dashes and mark.
RANKS = ("#a9d3f0", "#f8d48a", "#9fd9c3", "#f4b899", "#e5b8d3", "#f1e98c", "#b9c3ea", "#cfcfc8")
REDUCED = Look("#e8e8f4", "stripes", "#b9b9dd", "#1f2328")
UNKNOWN = "#ffffff"
STRONG = "#d55e00"  # the one thing to look at
COLORS = {
    "card": CARD, "card_edge": CARD_EDGE, "lane": LANE, "grid": GRID, "ink": INK, "quiet_ink": QUIET_INK,
    "strong": STRONG, "accent": ACTIVITIES["compute"].fill,
}  # fmt: skip


def rank_fill(rank: int) -> str:
    """Return the tint of a rank; ranks eight apart share one and are distinguished by their number."""
    return RANKS[rank % len(RANKS)]


@dataclass(frozen=True, slots=True)
class Series:
    """The style of a curve: its colour, its dashes ("" is solid) and the mark at its end."""

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
