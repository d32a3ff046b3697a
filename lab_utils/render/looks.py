"""How ranks, reductions and series are painted: each by colour and by something besides colour.

Tints are light forms of Okabe and Ito's hues (palette.py), all light enough for dark words on them; a cell also
names its rank, a reduction is striped, a series has its own dashes and mark.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab_utils.render.palette import Look

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
