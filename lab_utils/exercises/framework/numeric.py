"""Judge numbers: right within a tolerance, or too large or too small, and which common mistake gives that number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from numbers import Real

import numpy as np

from lab_utils.exercises.framework.exercise import Finding


@dataclass(frozen=True, slots=True)
class Quantity:
    """A requested number; mistakes are (value that a common mistake gives, description of the mistake)."""

    name: str
    right: float
    mistakes: tuple[tuple[float, str], ...] = ()
    relative: float = 1e-9
    absolute: float = 0.0

    def is_right(self, answer: float) -> bool:
        return isclose(answer, self.right, rel_tol=self.relative, abs_tol=self.absolute)

    def complaint(self, answer: float) -> str | None:
        """Describe what is wrong, without revealing the answer; None when it is right."""
        if self.is_right(answer):
            return None
        size = "too large" if answer > self.right else "too small"
        close = {"rel_tol": max(1e-6, self.relative), "abs_tol": max(1e-9, self.absolute)}
        why = next((why for value, why in self.mistakes if isclose(answer, value, **close)), None)
        return f"{self.name}: {size}" + (f": {why}" if why else "")


def numeric(quantities: Callable[..., Sequence[Quantity]]) -> Callable[..., Finding | None]:
    """Return a judge of the numbers that `quantities(**given)` lists, in that order; also accepts them as a tuple."""

    def judge(*answers: object, **given: object) -> Finding | None:
        wanted = quantities(**given)
        if len(answers) == 1 and isinstance(answers[0], tuple | list):
            answers = tuple(answers[0])
        if len(answers) != len(wanted):
            names = ", ".join(quantity.name for quantity in wanted)
            given = "1 answer was" if len(answers) == 1 else f"{len(answers)} answers were"
            asked = "1 is" if len(wanted) == 1 else f"{len(wanted)} are"
            return Finding((f"{given} given where {asked} asked for: {names}",))
        complaints = tuple(_complaints(wanted, answers))
        return Finding(complaints) if complaints else None

    return judge


def _complaints(wanted: Sequence[Quantity], answers: Sequence[object]) -> Iterator[str]:
    for quantity, answer in zip(wanted, answers, strict=True):
        value = _number(answer)
        if value is None:
            yield f"{quantity.name}: {answer!r} is no number"
        elif complaint := quantity.complaint(value):
            yield complaint


def _number(answer: object) -> float | None:
    """Convert to a finite float, also from a numpy array of one element; None for anything else, bools included."""
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real) or not np.isfinite(answer):
        return None
    return float(answer)
