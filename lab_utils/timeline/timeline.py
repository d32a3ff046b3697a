"""A trace placed in time, as exercises, widgets and exports take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_utils.timeline.export.csv_table import to_csv
from lab_utils.timeline.export.perfetto import to_perfetto
from lab_utils.timeline.export.sentences import summary
from lab_utils.timeline.placed import Placed

SVG = "image/svg+xml"
LIVE = "application/vnd.jupyter.widget-view+json"  # replaces the SVG in a notebook while its kernel runs


@dataclass(frozen=True, repr=False)
class Timeline(Placed):
    """Spans of every rank, as `Placed`, that draw and export themselves."""

    def to_svg(self) -> str:
        """Render as the text of an SVG file, deterministic to the byte, with the ops shown on hover."""
        return _rendered(self, SVG, hover=True)

    def to_perfetto(self, path: str | Path) -> None:
        """Write a Chrome trace, which ui.perfetto.dev opens."""
        to_perfetto(self, path)

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with one line per span."""
        to_csv(self, path)

    def __repr__(self) -> str:
        return summary(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        still = {SVG: _rendered(self, SVG, hover=False), "text/plain": summary(self)}
        live = _rendered(self, LIVE, hover=True) if LIVE in _renderers else None
        return still if live is None else {LIVE: live, **still}


# `render` imports this package, so it registers its renderers here instead of being imported.
_renderers: dict[str, Callable[[Timeline, bool], Any]] = {}


def register_renderer(mime_type: str, render: Callable[[Timeline, bool], Any]) -> None:
    """Register `render(timeline, hover)` for `mime_type`: SVG, or LIVE (may return None: not available here)."""
    _renderers[mime_type] = render


def _rendered(timeline: Timeline, mime_type: str, hover: bool) -> Any:
    if mime_type not in _renderers:
        raise RuntimeError(f"nothing draws a Timeline as {mime_type} yet: import lab_utils.render first")
    return _renderers[mime_type](timeline, hover)
