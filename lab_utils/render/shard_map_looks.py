"""How kinds are painted in a shard map: a colour each, striped where another rank has the same."""

from __future__ import annotations

from collections.abc import Iterable

from lab_utils.render import palette
from lab_utils.render.palette import Look
from lab_utils.render.svg import NAME, element, pattern
from lab_utils.timeline.holdings import Kind

# Okabe and Ito's hues again, darkened where they are to stand on white; light tints for the stripes' ground.
INKS: dict[Kind, tuple[str, str]] = {
    "parameter": ("#0072b2", "#c5dff0"),
    "gradient": ("#00805e", "#c4e7dc"),
    "optimizer state": ("#d98c00", "#f9e2b8"),
    "activation": ("#a8457f", "#efd3e2"),
    "buffer": ("#57606a", "#dcdfe3"),
    "gathered": ("#3d9bd1", "#d8ecf8"),
}
WHOLE = {"fill": "#ffffff", "stroke": "#a5a8a4", "stroke_width": 0.8}


def patterns(kinds: Iterable[Kind]) -> list[str]:
    """The stripes of these kinds."""
    return [pattern(_pattern_name(kind), Look(INKS[kind][1], "stripes", INKS[kind][0], palette.INK)) for kind in kinds]


def paint(kind: Kind, shared: bool) -> str:
    """What to fill with: `shared` where another rank has the same."""
    return f"url(#{_pattern_name(kind)})" if shared else INKS[kind][0]


def _pattern_name(kind: Kind) -> str:
    return f"{NAME}-{kind.replace(' ', '-')}"


def swatch(x: float, y: float, fill: str, ink: str) -> str:
    """A sample of a paint for the legend, its middle at y."""
    return element("rect", x=x, y=y - 5, width=16, height=10, rx=1.5, fill=fill, stroke=ink, stroke_width=0.8)
