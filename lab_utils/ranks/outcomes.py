"""What the notebook makes of the ranks' outcomes: their prints, their results, their trace."""

from __future__ import annotations

import pickle
import sys

from lab_utils.ranks.on_rank import Outcome
from lab_utils.ranks.printing import merge
from lab_utils.timeline import Trace


def show(outcomes: list[Outcome | None]) -> None:
    """Print what the ranks printed, in rank order."""
    said = [outcome for outcome in outcomes if outcome is not None]
    for stream in ("stdout", "stderr"):
        text = merge({outcome.rank: getattr(outcome, stream) for outcome in said})
        if text:
            print(text, end="", file=getattr(sys, stream))


def trace_of(outcomes: list[Outcome]) -> Trace:
    return Trace.from_ranks([o.ops for o in outcomes], [o.phases for o in outcomes], results_of(outcomes))


def results_of(outcomes: list[Outcome]) -> list:
    return [pickle.loads(outcome.result) for outcome in outcomes]
