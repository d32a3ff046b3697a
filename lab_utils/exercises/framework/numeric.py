"""Judge numbers: right within a tolerance, or too large or too small, and which common mistake gives that number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from numbers import Real
from typing import Any

import numpy as np

from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.words import Number as say


class Asked:
    """A number that is asked for; `misses` are what common mistakes give, by the name of their sentence."""

    def __init__(self, right: float, relative: float = 1e-9, absolute: float = 0.0, **misses: float) -> None:
        self.right, self.relative, self.absolute, self.misses = right, relative, absolute, misses


Numbers = tuple[list[Asked], dict[str, Any]]  # what is asked for, and the values in the explanation
Asking = Callable[..., Numbers]


def numeric(id: str, words: type, asking: Asking, given: tuple[str, ...] = (), **sizes: Any) -> Exercise:
    """Return an exercise on the numbers that `asking(**given)` returns."""
    return Exercise(id, words, Numeric(words, asking, sizes), lambda **known: asking(**known)[1], sizes, given)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its name; mistakes are (value that a common mistake gives, sentence on it)."""

    name: str
    right: float
    mistakes: tuple[tuple[float, str], ...]
    relative: float
    absolute: float

    def is_right(self, answer: float) -> bool:
        return isclose(answer, self.right, rel_tol=self.relative, abs_tol=self.absolute)

    def complaint(self, answer: object) -> str | None:
        """Describe what is wrong, without revealing the answer; None when it is right."""
        value = _number(answer)
        if value is None:
            return say.strange.format(name=self.name, answer=answer)
        if self.is_right(value):
            return None
        close = {"rel_tol": max(1e-6, self.relative), "abs_tol": max(1e-9, self.absolute)}
        why = next((why for miss, why in self.mistakes if isclose(value, miss, **close)), None)
        template = say.wrong_because if why else say.wrong
        return template.format(name=self.name, size=say.sizes[value > self.right], why=why)


@dataclass(frozen=True, slots=True)
class Numeric:
    """Judge of numbers in the order of `asking`; also accepts them as a tuple."""

    words: type
    asking: Asking
    sizes: Mapping[str, Any]

    def quantities(self, **given: Any) -> Iterator[Quantity]:
        for name, asked in zip(self.words.names, self.asking(**given)[0], strict=True):
            mistakes = ((value, self._said(getattr(self.words, miss))) for miss, value in asked.misses.items())
            yield Quantity(self._said(name), asked.right, tuple(mistakes), asked.relative, asked.absolute)

    def __call__(self, *answers: object, **given: Any) -> list[str]:
        wanted = list(self.quantities(**given))
        if len(answers) == 1 and isinstance(answers[0], tuple | list):
            answers = tuple(answers[0])
        if len(answers) != len(wanted):
            names = ", ".join(quantity.name for quantity in wanted)
            return [say.counts.format(given=_some(say.given, answers), asked=_some(say.asked, wanted), names=names)]
        complaints = (quantity.complaint(answer) for quantity, answer in zip(wanted, answers, strict=True))
        return [complaint for complaint in complaints if complaint]

    def _said(self, template: str) -> str:
        return template.format(**self.sizes)


def _some(one_or_several: tuple[str, str], things: Sequence[object]) -> str:
    return one_or_several[len(things) != 1].format(len(things))


def _number(answer: object) -> float | None:
    """Convert to a finite float, also from a numpy array of one element; None for anything else, bools included."""
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real) or not np.isfinite(answer):
        return None
    return float(answer)
