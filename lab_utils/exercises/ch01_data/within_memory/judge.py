"""Judge ZeRO-3 by hand: the limit is enforced on the ranks; here loss and gradients are compared with serial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isclose, isnan
from numbers import Real
from typing import Any

import numpy as np

from lab_utils.exercises.ch01_data.within_memory.numbers import CHANNELS
from lab_utils.exercises.ch01_data.within_memory.words import WithinMemory as say
from lab_utils.exercises.framework.against_serial import CLOSE, cause, difference, factor_of
from lab_utils.exercises.framework.exercise import Judged, NotYet
from lab_utils.exercises.framework.on_ranks import OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks

on_ranks = OnRanks("lab_utils.exercises.ch01_data.within_memory.on_ranks")


def judge_within_memory(ranks: Ranks, function: Function) -> Judged:
    """Judge the reader's `my_zero3(pieces, x, y)`: the loss, then the gradients, then what it did not free."""
    if CHANNELS % ranks.size:
        return NotYet(say.uneven.format(channels=CHANNELS, ranks=ranks.size))
    results = ranks.run(on_ranks.within_limit, function)
    for rank, found in enumerate(results):
        if wrong := _wrong_loss(rank, found):
            return [wrong]
    if wrong := list(_wrong_gradients(results)):
        return [wrong[0], say.alike.format(wrong=len(wrong), all=len(results) * len(results[0]["serial"]))]
    return [say.left.format(rank=rank, what=found["left"]) for rank, found in enumerate(results) if found["left"]]


def _wrong_loss(rank: int, found: Mapping[str, Any]) -> str:
    loss, wanted = found["loss"], found["wanted"]
    if isinstance(loss, bool) or not isinstance(loss, Real):
        return say.no_loss.format(type=type(loss).__name__, rank=rank)
    if found["changed"]:
        return say.changed.format(layer=found["changed"][0], rank=rank)
    if isnan(loss):
        return say.nan.format(rank=rank)
    if isclose(loss, wanted, rel_tol=CLOSE):
        return ""
    for order, other in found["orders"].items():
        if isclose(loss, other, rel_tol=CLOSE):
            return say.order.format(rank=rank, order=", ".join(map(str, order)))
    return say.loss.format(rank=rank, loss=loss, wanted=wanted)


def _wrong_gradients(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one sentence per layer and rank whose gradient is wrong, the last layers first, as in a backward."""
    n = len(results)
    for layer in reversed(range(len(results[0]["serial"]))):
        parts = np.split(results[0]["serial"][layer], n)
        for rank, found in enumerate(results):
            gradient = found["gradients"][layer]
            if gradient is None or difference(gradient, parts[rank]) > CLOSE:
                yield _why(gradient, parts, found["own"][layer], layer, rank)


def _why(gradient: np.ndarray | None, parts: Sequence[np.ndarray], own: np.ndarray, layer: int, rank: int) -> str:
    """Describe what is wrong with one gradient, the most specific first; `parts`: serial's rows for each rank."""
    at, wanted = {"layer": layer, "rank": rank}, parts[rank]
    if gradient is None or not gradient.any():
        return say.nothing.format(**at)
    if difference(gradient, own) <= CLOSE:
        return say.own.format(**at)
    if (factor := factor_of({"": gradient}, {"": wanted})) is not None:
        return say.times.format(**at, factor=factor, why=cause(factor, {len(parts): say.sum_over_ranks}))
    for other, part in enumerate(parts):
        if difference(gradient, part) <= CLOSE:
            return say.rows.format(**at, other=other)
    return say.wrong.format(**at, difference=difference(gradient, wanted))
