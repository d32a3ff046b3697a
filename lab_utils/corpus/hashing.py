"""Pseudo-random numbers and hashes that are the same in every process, on every machine, in every release.

Python's own `hash` is salted per process, and numpy's generators may change between releases; ranks that must
agree on an order without communication can rely on neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from operator import index

import numpy as np
from numpy.typing import NDArray

Items = int | Sequence[int | str | bytes]
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers one to one: the output function of SplitMix64.

    Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators", OOPSLA, figure 16
    (constants: Stafford's variant 13). Unsigned arithmetic wraps at 2^64, as intended.
    """
    z = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def stream(n: int, *seed: int) -> NDArray[np.uint64]:
    """The first n numbers of a SplitMix64 generator started from the seeds, [n]."""
    start = np.uint64(stable_hash([repr(seed)])[0])
    return mix(start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GOLDEN))


def permutation(n: int, *seed: int) -> NDArray[np.int64]:
    """A permutation of 0..n-1 that depends on the seeds only, [n]."""
    return np.argsort(stream(n, *seed), kind="stable").astype(np.int64)


def stable_hash(items: Items) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b per item, [n]; 1 and "1" and b"1" differ. An int n stands for 0..n-1."""
    items = range(items) if isinstance(items, int) else items
    digests = b"".join(hashlib.blake2b(_encode(item), digest_size=8).digest() for item in items)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _encode(item: int | str | bytes) -> bytes:
    if isinstance(item, bytes):
        return b"b" + item
    return b"s" + item.encode() if isinstance(item, str) else b"i%d" % index(item)
