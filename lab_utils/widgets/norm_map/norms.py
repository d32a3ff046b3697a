"""Norms of gradients over the steps of a training, and what is wrong with them: vanishing, exploding, not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

VANISHING, EXPLODING = 1e-2, 1e2  # times the median over the layers of the same step
PAST, LEAST_PAST = 32, 3  # steps whose median is what a layer is used to, and how many of them it takes
FINE, VANISHES, EXPLODES, INFINITE, NAN = range(5)
WORDS = ("fine", "vanishing", "exploding", "infinite", "NaN")


@dataclass(frozen=True, eq=False)
class Norms:
    """`values` [layers, steps]: the norm of each layer's gradient at each step; NaN also where `known` is False.

    vanishing, exploding    below and above so many times the median over the layers of that step; it also explodes
                            above so many times what it was used to, so that all layers can. A layer whose norm is 0
                            vanishes where another's is not
    """

    layers: tuple[str, ...]
    steps: tuple[int, ...]
    values: np.ndarray
    known: np.ndarray
    vanishing: float = VANISHING
    exploding: float = EXPLODING

    def __post_init__(self) -> None:
        check_thresholds(self.vanishing, self.exploding)

    @classmethod
    def of(
        cls, rows: Sequence[tuple[int, Mapping[str, float]]], vanishing: float = VANISHING, exploding: float = EXPLODING
    ) -> Norms:
        """From [(step, {layer: norm}), ...], layers in the order in which they first come. ValueError for none."""
        layers = tuple(dict.fromkeys(name for _, norms in rows for name in norms))
        if not layers:
            raise ValueError("there is no norm of a gradient to show")
        values = np.array([[norms.get(name, np.nan) for _, norms in rows] for name in layers], np.float64)
        known = np.array([[name in norms for _, norms in rows] for name in layers])
        return cls(layers, tuple(step for step, _ in rows), values, known, vanishing, exploding)

    @cached_property
    def median(self) -> np.ndarray:
        """float64[steps]: of the finite norms of the layers at that step; 0 where there is none."""
        return _medians(self.values)

    @cached_property
    def used_to(self) -> np.ndarray:
        """float64[layers, steps]: median of a layer's finite norms in the PAST steps before; inf for too few of them.

        At least the median of that over the layers: one that had vanished does not explode when it comes back.
        """
        padded = np.pad(self.values, ((0, 0), (PAST, 0)), constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, PAST, axis=1)[:, :-1]
        ordered = np.sort(np.where(np.isfinite(windows), windows, np.inf), axis=2)
        counts = np.isfinite(windows).sum(2)
        middle = np.stack([np.maximum(counts - 1, 0) // 2, np.minimum(counts // 2, PAST - 1)], axis=2)
        medians = np.take_along_axis(ordered, middle, 2).mean(2)
        own = np.where(counts >= LEAST_PAST, medians, np.inf)
        return np.maximum(own, _medians(own))

    @cached_property
    def states(self) -> np.ndarray:
        """uint8[layers, steps]: FINE, VANISHES, EXPLODES, INFINITE or NAN; FINE where nothing is known."""
        found = np.full(self.values.shape, FINE, np.uint8)
        with np.errstate(invalid="ignore"):  # comparing with NaN is False, which is what is wanted
            found[self.values < self.vanishing * self.median] = VANISHES
            found[self.values > self.exploding * np.minimum(self.median, self.used_to)] = EXPLODES
        found[np.isinf(self.values)] = INFINITE
        found[np.isnan(self.values) & self.known] = NAN
        return found

    def words(self) -> list[str]:
        """A line for each layer with something wrong: what, at how many steps, and the first of them."""
        lines = []
        for layer, row in zip(self.layers, self.states, strict=True):
            for state in np.unique(row[row != FINE]):
                at = np.flatnonzero(row == state)
                first = f"first at step {self.steps[at[0]]}"
                lines.append(f"{layer}: {WORDS[state]} at {len(at)} of {len(row)} steps, {first}")
        return lines


def _medians(values: np.ndarray) -> np.ndarray:
    """float64[columns]: of the finite values; 0 where there is none."""
    columns = (column[np.isfinite(column)] for column in values.T)
    return np.array([np.median(column) if len(column) else 0.0 for column in columns])


def check_thresholds(vanishing: float, exploding: float) -> None:
    """ValueError unless they stand on either side of the median."""
    if not 0 <= vanishing < 1 < exploding:
        raise ValueError(
            f"vanishing={vanishing:g} and exploding={exploding:g} are times the median of the layers: the first must "
            "be below 1, the second above"
        )
