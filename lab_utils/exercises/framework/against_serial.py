"""Compare gradients and parameters of the reader's code with serial's: how far off, and by which factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isclose, isfinite

import numpy as np

CLOSE = 1e-9  # float64 on a small model
Tensors = Mapping[str, np.ndarray]


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference relative to the largest element; inf if that is not finite."""
    largest = float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0))
    return largest if isfinite(largest) else inf


def worst(found: Tensors, wanted: Tensors) -> tuple[float, str]:
    """Return the largest difference of a tensor, and its name."""
    return max((difference(found[name], each), name) for name, each in wanted.items())


def flat(tensors: Tensors) -> np.ndarray:
    """Return all elements, tensor by tensor."""
    return np.concatenate([np.ravel(tensor) for tensor in tensors.values()])


def unequal(ranks: Sequence[Tensors]) -> list[tuple[int, str, float]]:
    """Return (rank, tensor, largest difference) for each tensor that differs from rank 0's."""
    return [
        (rank, name, float(np.abs(each[name] - first).max()))
        for rank, each in enumerate(ranks)
        for name, first in ranks[0].items()
        if not np.array_equal(each[name], first)
    ]


def factor_of(found: Tensors, wanted: Tensors) -> float | None:
    """Return k if found = k × wanted, relative to the largest element of wanted; None if there is none."""
    name = max(wanted, key=lambda name: np.abs(wanted[name]).max())
    at, largest = np.abs(wanted[name]).argmax(), np.abs(wanted[name]).max()
    if not largest:
        return None
    factor = found[name].flat[at] / wanted[name].flat[at]
    near = CLOSE * abs(factor) * largest
    same = all(np.abs(found[name] - factor * each).max() <= near for name, each in wanted.items())
    return float(factor) if same else None


def common_factor(ranks: Sequence[Tensors], wanted: Tensors) -> float | None:
    """Return k if every rank has k × these tensors, else None."""
    factors = [factor_of(found, wanted) for found in ranks]
    return factors[0] if None not in factors and isclose(min(factors), max(factors), rel_tol=CLOSE) else None


def cause(factor: float, known: Mapping[float, str], rel_tol: float = CLOSE) -> str:
    """Return the sentence of the known factor that this one is; "" if none is."""
    return next((why for value, why in known.items() if isclose(value, factor, rel_tol=rel_tol)), "")


def mean_of(several: Sequence[Tensors]) -> Tensors:
    return {name: np.mean([tensors[name] for tensors in several], axis=0) for name in several[0]}
