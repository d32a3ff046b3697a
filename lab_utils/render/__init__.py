"""Timelines as deterministic SVG in one colour-blind-safe palette; importing it lets a Timeline draw itself.

>>> to_svg(trace.timeline())     # or timeline.to_svg(), or the timeline as the last line of a cell
"""

from lab_utils.render.timeline_svg import to_svg
from lab_utils.timeline.timeline import SVG, register_renderer

register_renderer(SVG, to_svg)

__all__ = ["to_svg"]
