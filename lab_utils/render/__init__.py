"""Deterministic SVG pictures in one colour-blind-safe palette; importing it lets a Timeline draw itself.

>>> to_svg(trace.timeline())                        # or timeline.to_svg(), or the timeline as the last line of a cell
>>> before_after("all_reduce", ranks.run(demo))     # one collective, from what the ranks returned
>>> step_by_step("ring all-reduce", ring_steps(4))  # who sends which chunk to whom
>>> loss_curve({"serial": losses})
>>> bars("Bytes sent", ...)
>>> source("lab_utils.comm.ring", "ring_all_reduce")  # code, where the code is the lesson
"""

from lab_utils.render.bars import bars
from lab_utils.render.collective import before_after
from lab_utils.render.curve import loss_curve
from lab_utils.render.source import source
from lab_utils.render.steps import step_by_step
from lab_utils.render.timeline_svg import to_svg
from lab_utils.timeline.timeline import SVG, register_renderer

register_renderer(SVG, to_svg)

__all__ = ["bars", "before_after", "loss_curve", "source", "step_by_step", "to_svg"]
