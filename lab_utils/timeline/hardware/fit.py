"""Numbers fitted on measured times by least squares."""

from __future__ import annotations

import numpy as np


def fitted(amounts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """float64[k]: seconds for one of each amount, so that amounts @ them comes closest to the times; none below 0.

    amounts float64[t, k], seconds float64[t]. Errors count relative to the time, so that a short one weighs as much as
    a long one. What would come out below 0 is taken for 0, and the rest fitted again. ValueError when there are fewer
    times than numbers to be fitted, or a time is not above 0.
    """
    amounts, seconds = np.asarray(amounts, np.float64), np.asarray(seconds, np.float64)
    if len(seconds) < amounts.shape[1] or not (seconds > 0).all():
        raise ValueError(
            f"{amounts.shape[1]} numbers are to be fitted on {len(seconds)} times: as many are needed, all above 0 s"
        )
    relative, used = amounts / seconds[:, None], np.arange(amounts.shape[1])
    found = np.zeros(amounts.shape[1])
    while len(used):
        solution = np.linalg.lstsq(relative[:, used], np.ones(len(seconds)), rcond=None)[0]
        if (solution >= 0).all():
            found[used] = solution
            break
        used = np.delete(used, solution.argmin())
    return found


def errors(amounts: np.ndarray, seconds: np.ndarray, found: np.ndarray) -> np.ndarray:
    """float64[t]: how far each fitted time is from the measured one, relative to it."""
    return np.abs(np.asarray(amounts) @ found / np.asarray(seconds) - 1.0)
