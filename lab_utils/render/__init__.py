"""Deterministic SVG pictures in a colour-blind-safe palette; importing it registers the Timeline renderer.

>>> to_svg(trace.timeline())                        # or timeline.to_svg(), or the timeline as the last line of a cell
>>> before_after("all_reduce", ranks.run(demo))     # one collective, from the ranks' return values
>>> loss_curve({"serial": losses})
>>> bars("Bytes sent", ...)
>>> source("lab_utils.comm.algorithms.ring", "ring_all_reduce")  # code, where the code is the lesson

Each is imported on first use, so that starting the ranks, the first thing a notebook does, is not delayed.
"""

from __future__ import annotations

from importlib import import_module

from lab_utils.lazy import lazy
from lab_utils.timeline.timeline import SVG, register_renderer

_HOME = {
    "bars": "bar_chart",
    "before_after": "collective",
    "loss_curve": "curve",
    "lines": "curve",
    "source": "source_code",
    "to_svg": "lab_utils.widgets.timeline_view.picture",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy(__name__, _HOME)

register_renderer(SVG, lambda timeline, hover: import_module(_HOME["to_svg"]).to_svg(timeline, hover))
