"""Gradient norms over training steps, and which are vanishing, exploding or not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

VANISHING, EXPLODING = 1e-2, 1e2  # times the median over the layers of the same step
PAST, LEAST_PAST = 32, 3  # steps in a layer's running median, and the minimum number of them
FINE, VANISHES, EXPLODES, INFINITE, NAN = range(5)
WORDS = ("fine", "vanishing", "exploding", "infinite", "NaN")


@dataclass(frozen=True, eq=False)
class Norms:
    """`values` [layers, steps]: the norm of each layer's gradient at each step; NaN also where `known` is False.

    vanishing, exploding    factors of the median over layers at that step, below and above which a norm is marked;
                            exploding also applies to the layer's own past (`used_to`), to catch all layers at once.
                            A norm of 0 vanishes if the median is not 0
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
        """Build it from [(step, {layer: norm}), ...], layers in order of appearance. ValueError without any."""
        layers = tuple(dict.fromkeys(name for _, norms in rows for name in norms))
        if not layers:
            raise ValueError("there is no norm of a gradient to show")
        values = np.array([[norms.get(name, np.nan) for _, norms in rows] for name in layers], np.float64)
        known = np.array([[name in norms for _, norms in rows] for name in layers])
        return cls(layers, tuple(step for step, _ in rows), values, known, vanishing, exploding)

    @cached_property
    def median(self) -> np.ndarray:
        """float64[steps]: median of the layers' finite norms at each step; 0 if there is none."""
        return _medians(self.values)

    @cached_property
    def used_to(self) -> np.ndarray:
        """float64[layers, steps]: median of a layer's finite norms in the PAST steps before; inf if there are too few.

        At least the median of that over the layers: a layer that recovers from vanishing does not count as exploding.
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
        """uint8[layers, steps]: FINE, VANISHES, EXPLODES, INFINITE or NAN; FINE where unknown."""
        found = np.full(self.values.shape, FINE, np.uint8)
        with np.errstate(invalid="ignore"):  # comparisons with NaN are False, as intended
            found[self.values < self.vanishing * self.median] = VANISHES
            found[self.values > self.exploding * np.minimum(self.median, self.used_to)] = EXPLODES
        found[np.isinf(self.values)] = INFINITE
        found[np.isnan(self.values) & self.known] = NAN
        return found

    def words(self) -> list[str]:
        """Return a line per layer and problem: which, at how many steps, and the first of them."""
        lines = []
        for layer, row in zip(self.layers, self.states, strict=True):
            for state in np.unique(row[row != FINE]):
                at = np.flatnonzero(row == state)
                first = f"first at step {self.steps[at[0]]}"
                lines.append(f"{layer}: {WORDS[state]} at {len(at)} of {len(row)} steps, {first}")
        return lines


def _medians(values: np.ndarray) -> np.ndarray:
    """Return float64[columns]: the median of the finite values, 0 if there is none."""
    columns = (column[np.isfinite(column)] for column in values.T)
    return np.array([np.median(column) if len(column) else 0.0 for column in columns])


def check_thresholds(vanishing: float, exploding: float) -> None:
    """Raise ValueError unless vanishing < 1 < exploding."""
    if not 0 <= vanishing < 1 < exploding:
        raise ValueError(
            f"vanishing={vanishing:g} and exploding={exploding:g} are times the median of the layers: the first must "
            "be below 1, the second above"
        )
