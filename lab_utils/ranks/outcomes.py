"""What the notebook makes of the ranks' outcomes: their results, their trace."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lab_utils.ranks.on_rank import Outcome
from lab_utils.timeline import Trace


def trace_of(outcomes: list[Outcome]) -> Trace:
    return Trace.from_ranks([o.ops for o in outcomes], [o.phases for o in outcomes], results_of(outcomes))


def results_of(outcomes: list[Outcome]) -> list:
    """The results in rank order. TypeError when reading one would load torch into this process, unless it is there."""
    with _torch_stays_out():
        return [pickle.loads(outcome.result) for outcome in outcomes]


@contextmanager
def _torch_stays_out() -> Iterator[None]:
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # which makes an import of it raise
    try:
        yield
    except ModuleNotFoundError as error:
        raise TypeError(
            f"a result is of a class whose module needs torch, and the notebook has none ({error}): "
            "return tensors, numbers, lists or dicts"
        ) from error
    finally:
        del sys.modules["torch"]
