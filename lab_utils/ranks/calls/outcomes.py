"""Turns the ranks' outcomes into results or a trace."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lab_utils.host.cpu_times import taken_by_others
from lab_utils.ranks.on_rank.entry_points import Outcome
from lab_utils.timeline import Trace


def trace_of(outcomes: list[Outcome]) -> Trace:
    trace = Trace.from_ranks([o.ops for o in outcomes], [o.phases for o in outcomes], results_of(outcomes))
    return replace(trace, others=taken_by_others([o.used for o in outcomes if o.used is not None]))


def results_of(outcomes: list[Outcome]) -> list:
    """Return the results in rank order. TypeError when one cannot be unpickled here; torch is not imported for it."""
    with _torch_stays_out():
        return [_read(outcome) for outcome in outcomes]


def _read(outcome: Outcome) -> Any:
    try:
        return pickle.loads(outcome.result)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "torch":
            raise TypeError(
                f"a result is of a class whose module needs torch, and the notebook has none ({error}): "
                "return tensors, numbers, lists or dicts"
            ) from error
        raise TypeError(
            f"a result is of a class of the module {error.name}, which this notebook cannot import: "
            "add its folder to sys.path here, or return tensors, numbers, lists or dicts"
        ) from error
    except Exception as error:  # unpickling may raise anything
        raise TypeError(
            f"the result of rank {outcome.rank} cannot be read here: {type(error).__name__}: {error}; "
            "return tensors, numbers, lists or dicts"
        ) from error


@contextmanager
def _torch_stays_out() -> Iterator[None]:
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # importing it now raises
    try:
        yield
    finally:
        del sys.modules["torch"]
