"""All colours of all pictures. What colour distinguishes, a pattern distinguishes too.

Hues of compute, communication and waiting are Okabe and Ito's (Color Universal Design, 2008), which remain distinct
under every common colour blindness, darkened where words or marks would fade; communication has stripes and waiting
has dots.

Pictures carry their light colours, as stored outputs, GitHub and nbconvert show them. In JupyterLab's dark themes each
becomes `DARK[colour]`, in widgets by their styles and scripts (widgets/kit), in stored pictures by the lab's
extension (jupyter/). Text in HTML follows the theme itself: `THEME_CARD` and the like. tests/render/test_palette.py
computes the contrast of every pair of colours that pictures use, in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

CARD, CARD_EDGE = "#fcfcfa", "#d8d8d3"
LANE = "#f1f1ed"
GRID = "#dcdcd6"
MEMORY = "#8f78c2"  # lilac: not the colour of any activity
INK, QUIET_INK, WHITE = "#1f2328", "#57606a", "#ffffff"
BLUE = "#0072b2"  # of what acts or is chosen: buttons, marks, the border of what is right
STRONG = "#b84a00"  # the one thing to look at, and what is wrong
AGREES = "#007a5a"  # the tick of what is equal on all ranks
OUTLINE = "#8c8f8b"  # of a control, of a whole tensor
UNJUDGED = "#8a8f98"  # the border of a card that says neither right nor wrong
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', 'Noto Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Look:
    """The paint of an activity: ground, pattern, ink of the pattern, ink of text on it."""

    fill: str
    pattern: Literal["plain", "stripes", "dots", "rules"]
    pattern_ink: str
    ink: str


ACTIVITIES = {
    "compute": Look(BLUE, "plain", BLUE, WHITE),
    "communication": Look("#e69f00", "stripes", "#a06800", INK),
    "waiting": Look("#f3dbe8", "dots", "#b0568a", INK),
}

# Pipeline ops by kind. BW, both backwards at once, has the colours of both.
COMPUTES = {
    "F": ACTIVITIES["compute"],
    "B": Look("#00805e", "plain", "#00805e", WHITE),
    "W": Look("#56b4e9", "dots", "#1f78a8", INK),
    "BW": Look("#00805e", "rules", "#56b4e9", WHITE),
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
REDUCED = Look("#e8e8f4", "stripes", "#7f7fb8", INK)
UNKNOWN = WHITE
COLORS = {
    "card": CARD, "card_edge": CARD_EDGE, "lane": LANE, "grid": GRID, "ink": INK, "quiet_ink": QUIET_INK,
    "strong": STRONG, "accent": BLUE, "white": WHITE, "control": OUTLINE,
}  # fmt: skip


def rank_fill(rank: int) -> str:
    """Return the tint of a rank; ranks eight apart share one and are distinguished by their number."""
    return RANKS[rank % len(RANKS)]


# The colour of each kind of tensor in a shard map, and the tint under its stripes, where another rank has the same.
TENSORS = {
    "parameter": (BLUE, "#c5dff0"),
    "gradient": ("#00805e", "#c4e7dc"),
    "optimizer state": ("#a06800", "#f9e2b8"),
    "activation": ("#a8457f", "#efd3e2"),
    "buffer": (QUIET_INK, "#dcdfe3"),
    "gathered": ("#2b86bb", "#d8ecf8"),
}
WHOLE = WHITE
THREAD = "#7d858e"  # what joins two marks


@dataclass(frozen=True, slots=True)
class Series:
    """The style of a curve: its colour, its dashes ("" is solid) and the mark at its end."""

    stroke: str
    dashes: str
    mark: str


SERIES = (
    Series(BLUE, "", "●"),
    Series(STRONG, "7 4", "▲"),
    Series(AGREES, "2 3", "■"),
    Series("#a8457f", "9 3 2 3", "◆"),
    Series(QUIET_INK, "1 5", "▼"),
    Series("#8a5a00", "12 6", "★"),
)

# Every colour of a picture, light: dark. White is a ground, and the ink on strong colours: both are dark in the dark.
DARK = {
    CARD: "#212121", CARD_EDGE: "#4c4f52", LANE: "#151617", GRID: "#3b3e41", MEMORY: "#9b86d6",
    INK: "#e8eaed", QUIET_INK: "#a9b1ba", WHITE: "#14171a", STRONG: "#ff914d",
    BLUE: "#55b4f0", "#e69f00": "#855800", "#a06800": "#dba33c", "#f3dbe8": "#4b2a3d", "#b0568a": "#d884b3",
    "#00805e": "#2fbf94", "#56b4e9": "#1d5a80", "#1f78a8": "#6fc0ee",
    **dict(zip(PHASES, (
        "#2b4256", "#4d4324", "#2d482a", "#503629", "#3f3960", "#22494a", "#454339", "#532f41",
    ), strict=True)),
    **dict(zip(RANKS, (
        "#1d5680", "#75540c", "#1a6148", "#84431d", "#713c60", "#625b0e", "#434e92", "#53534d",
    ), strict=True)),
    "#e8e8f4": "#30304a", "#7f7fb8": "#9292cf",
    AGREES: "#33c79c", "#a8457f": "#e086bb", "#8a5a00": "#cfa254",
    "#c5dff0": "#1a3f58", "#c4e7dc": "#154636", "#f9e2b8": "#543e0c", "#efd3e2": "#582a44",
    "#dcdfe3": "#3a3f45", "#2b86bb": "#a9daf6", "#d8ecf8": "#27495e", OUTLINE: "#7f8388", THREAD: "#8f98a1",
}  # fmt: skip


def darkened(style: Any) -> Any:
    """Return a colour, or lists and dicts with colours in them, as in a dark theme; all else unchanged."""
    if isinstance(style, dict):
        return {name: darkened(value) for name, value in style.items()}
    if isinstance(style, list | tuple):
        return [darkened(value) for value in style]
    return DARK.get(style, style) if isinstance(style, str) else style


def in_both_themes(style: dict[str, Any]) -> dict[str, Any]:
    """Return the style of a canvas with the same in the dark under "dark", as the widgets' theme.js takes it."""
    return style | {"dark": darkened(style)}


# What HTML in a cell's output takes from JupyterLab's theme; elsewhere, as on GitHub, the light colour stands.
THEME_CARD = f"var(--jp-layout-color1, {CARD})"
THEME_EDGE = f"var(--jp-border-color1, {CARD_EDGE})"
THEME_INK = f"var(--jp-content-font-color1, {INK})"
THEME_QUIET_INK = f"var(--jp-content-font-color2, {QUIET_INK})"
