"""Recognise an order: the schedules of this room that have, for its sizes, the same instructions on every rank."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.draft import Draft
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.schedule.search.search import NAMED


def recognised(order: Draft) -> tuple[str, ...]:
    """Return the names in `schedules.BY_NAME` whose instructions are the order's; () if it is no named schedule.

    Nothing is left open: micro-batches keep their numbers, and B with W right behind it is not BW. For small sizes
    several schedules may be the same.
    """
    return tuple(name for name in _candidates(order) if _is(name, order))


def _candidates(order: Draft) -> tuple[str, ...]:
    """Return the schedules with as many copies of a stage, and as many stages per rank."""
    if order.copies > 1:
        return () if order.ranks % 2 else ("dualpipe",)
    each, rest = divmod(order.stages, order.ranks)
    if rest or each < 2:
        return NAMED["line"] if each == 1 and not rest else ()
    return (*(NAMED["v"] if each == 2 else ()), *NAMED["loop"])


def _is(name: str, order: Draft) -> bool:
    more = {"virtual_stages": order.stages // order.ranks} if name in NAMED["loop"] else {}
    known = BY_NAME[name](order.ranks, order.microbatches, **more)
    columns = ("first", "kind", "stage", "microbatch")
    return all(np.array_equal(getattr(known, column), getattr(order, column)) for column in columns)
