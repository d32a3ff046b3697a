"""A line of a formula and a line of a count; no torch."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """What a formula says that one rank keeps for the backward.

    module   the part of the model that keeps it, the first where several do: "attention.query"
    name     what it is: "input of query, key and value"
    """

    module: str
    name: str
    bytes: int


class Kept(NamedTuple):
    """What autograd keeps on one rank: a storage, under the module that was the first to keep it, "" outside of all.

    shape, dtype   of the tensor that was kept first; bytes are the whole storage's, of which it may be a view
    """

    module: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


RECOMPUTE = ("none", "selective", "full")


def divided(count: int, ranks: int, what: str) -> int:
    """Return count / ranks. ValueError, with both, when it does not divide."""
    if ranks < 1 or count % ranks:
        fitting = ", ".join(str(n) for n in range(1, min(count, 64) + 1) if count % n == 0)
        raise ValueError(f"{what} = {count} cannot be divided over tp = {ranks} ranks: tp can be {fitting}")
    return count // ranks


def known(recompute: str) -> str:
    """Return the name of the recomputation. ValueError for another one."""
    if recompute not in RECOMPUTE:
        raise ValueError(f"recompute={recompute!r}: it can be {', '.join(RECOMPUTE)}")
    return recompute
