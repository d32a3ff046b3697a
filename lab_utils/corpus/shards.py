"""Sharding of items over ranks: range, hash, random and rendezvous behind one interface.

All of them split the data evenly. They differ in which items move when a rank is added: those have to be sent,
or read again.

    sharding     items per rank          moved when n ranks become n + 1
    Range        equal to within 1       about 1/2
    Hash         equal on average        about 1 - 1/(n+1): nearly everything
    Random       equal to within 1       about 1 - 1/(n+1)
    Rendezvous   equal on average        about 1/(n+1), the least possible; all of it to the new rank
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .hashing import Items, mix, permutation, stable_hash


class Sharding(Protocol):
    """A rule that assigns every item to one rank."""

    def assign(self, items: Items, ranks: int) -> NDArray[np.int64]:
        """The rank of each item, [n]. ValueError for ranks < 1.

        Items are numbers, names or contents: `range(1000)`, file names, documents. 1000 means range(1000).
        """


class Range:
    """Contiguous ranges: the first n/ranks items on rank 0, the next on rank 1, in their order."""

    def assign(self, items: Items, ranks: int) -> NDArray[np.int64]:
        n = _count(items, ranks)
        each, left = divmod(n, ranks)
        sizes = np.full(ranks, each) + (np.arange(ranks) < left)  # the first `left` ranks hold one more
        return np.repeat(np.arange(ranks, dtype=np.int64), sizes)


class Hash:
    """An item's rank is its hash modulo the ranks: no table, and independent of all other items."""

    def assign(self, items: Items, ranks: int) -> NDArray[np.int64]:
        _count(items, ranks)
        return (stable_hash(items) % np.uint64(ranks)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Random:
    """Shuffle the items, then assign them round-robin: even, and independent of the order of the text."""

    seed: int = 0

    def assign(self, items: Items, ranks: int) -> NDArray[np.int64]:
        n = _count(items, ranks)
        assignment = np.empty(n, dtype=np.int64)
        assignment[permutation(n, self.seed)] = np.arange(n) % ranks
        return assignment


class Rendezvous:
    """Every rank bids a hash of (item, rank), the highest bid wins: a new rank takes only the items that it wins.

    Thaler and Ravishankar 1998, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM Transactions on
    Networking 6(1).
    """

    def assign(self, items: Items, ranks: int) -> NDArray[np.int64]:
        _count(items, ranks)
        bids = mix(stable_hash(items)[:, None] ^ stable_hash(ranks)[None, :])  # [n, ranks]
        return bids.argmax(axis=1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Balance:
    """items: number or total weight of items per rank, [ranks]; imbalance: maximum over mean.

    In a synchronous step all ranks wait for the fullest one: imbalance 1.25 costs a quarter more time.
    """

    items: NDArray[np.int64]
    imbalance: float


def balance(assignment: ArrayLike, ranks: int, weights: ArrayLike | None = None) -> Balance:
    """Measure how even an assignment [n] is; `weights` [n] are integers, such as tokens per item, 1 by default."""
    assignment = np.asarray(assignment, dtype=np.int64)
    weights = np.ones(len(assignment), dtype=np.int64) if weights is None else np.asarray(weights)
    items = np.zeros(ranks, dtype=np.int64)
    np.add.at(items, assignment, weights)
    if not items.any():
        raise ValueError("No items: there is nothing to balance.")
    return Balance(items, float(items.max() / items.mean()))


def moved(before: ArrayLike, after: ArrayLike) -> float:
    """Return the fraction of items whose rank differs between two assignments [n] of the same items."""
    before, after = np.asarray(before), np.asarray(after)
    if before.shape != after.shape or not before.size:
        raise ValueError(f"{before.size} items before, {after.size} after: give two assignments of the same items.")
    return float((before != after).mean())


def _count(items: Items, ranks: int) -> int:
    if ranks < 1:
        raise ValueError(f"ranks={ranks}: the items need at least 1 rank.")
    return items if isinstance(items, int) else len(items)
