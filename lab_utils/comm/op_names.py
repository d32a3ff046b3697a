"""What an op is called that carries another: a picture should show the collective that a program means.

gloo carries some collectives worse than others, so a strategy may build one of another. A trace then tells the one that
was built, which on other hardware is what runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_told: ContextVar[tuple[str, Tensor] | None] = ContextVar("told", default=None)


@contextmanager
def told_as(name: str, given: Tensor) -> Iterator[None]:
    """Inside, collectives are told by that name, and as giving that tensor, whatever they give themselves.

    >>> with told_as("reduce_scatter", whole):
    ...     dist.all_to_all_single(received, whole)
    """
    token = _told.set((name, given))
    try:
        yield
    finally:
        _told.reset(token)


def told(name: str, given: list[Tensor]) -> tuple[str, list[Tensor]]:
    """What to call a collective, and what it gives: as `told_as` says, else as it is."""
    said = _told.get()
    return (name, given) if said is None else (said[0], [said[1]])
