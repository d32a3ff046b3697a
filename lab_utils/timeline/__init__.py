"""Traces of ops per rank, and timelines that place them in time.

>>> trace.timeline().bubble_fraction      # measured, by the ranks' wall clock
>>> message_rounds(trace)                 # needs no clock: the longest chain of messages
"""

from lab_utils.text import bytes_text, percent_text, time_text
from lab_utils.timeline.message_counts import bytes_sent, message_rounds
from lab_utils.timeline.ops import Op, Phase
from lab_utils.timeline.span import Span
from lab_utils.timeline.timeline import Timeline, register_renderer
from lab_utils.timeline.trace import Trace

__all__ = [
    "Op",
    "Phase",
    "Span",
    "Timeline",
    "Trace",
    "bytes_sent",
    "bytes_text",
    "message_rounds",
    "percent_text",
    "register_renderer",
    "time_text",
]
