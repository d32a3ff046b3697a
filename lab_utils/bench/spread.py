"""Median and spread of measured numbers, p90 among them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Median and spread of some numbers."""

    median: float
    low: float
    high: float
    p90: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Compute from numbers. IndexError when there are none."""
        ninth_decile = statistics.quantiles(numbers, n=10, method="inclusive")[-1] if numbers[1:] else numbers[0]
        return cls(statistics.median(numbers), min(numbers), max(numbers), ninth_decile)
