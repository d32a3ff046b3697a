"""Judge numbers: right within a tolerance, or too large or too small, and which common mistake gives that number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from numbers import Real
from typing import Any

import numpy as np

from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.words import Number as say


class Quantity:
    """A number that is asked for; `misses` are what common mistakes give, by the name of their sentence."""

    def __init__(self, right: float, relative: float = 1e-9, absolute: float = 0.0, **misses: float) -> None:
        self.right, self.relative, self.absolute, self.misses = right, relative, absolute, misses

    def is_right(self, answer: float) -> bool:
        return isclose(answer, self.right, rel_tol=self.relative, abs_tol=self.absolute)

    def miss(self, answer: float) -> str | None:
        """Return the name of the common mistake that gives this number."""
        close = {"rel_tol": max(1e-6, self.relative), "abs_tol": max(1e-9, self.absolute)}
        return next((name for name, value in self.misses.items() if isclose(answer, value, **close)), None)


Numbers = tuple[list[Quantity], dict[str, Any]]  # what is asked for, and the values in the explanation


def numeric(
    id: str, words: type, numbers: Callable[..., Numbers], given: tuple[str, ...] = (), **sizes: Any
) -> Exercise:
    """Return an exercise on the numbers that `numbers(**given)` returns, in that order."""
    return Exercise(id, words, Numeric(words, numbers, sizes), lambda **known: numbers(**known)[1], sizes, given)


@dataclass(frozen=True, slots=True)
class Numeric:
    """Judge of numbers, which also accepts them as a tuple."""

    words: type
    numbers: Callable[..., Numbers]
    sizes: Mapping[str, Any]

    def __call__(self, *answers: object, **given: Any) -> list[str]:
        answers = one_by_one(answers)
        if wrong_count := self.wrong_count(answers):
            return [wrong_count]
        wanted = self.numbers(**given)[0]
        found = (self._complaint(*each) for each in zip(self.names, wanted, answers, strict=True))
        return [complaint for complaint in found if complaint]

    @property
    def names(self) -> list[str]:
        """Names of the numbers that are asked for."""
        return [self.said(name) for name in self.words.names]

    def wrong_count(self, answers: Sequence[object]) -> str:
        """Describe a wrong number of answers; "" when it is right."""
        if len(answers) == len(self.names):
            return ""
        counts = {"given": _some(say.given, answers), "asked": _some(say.asked, self.names)}
        return say.counts.format(**counts, names=", ".join(self.names))

    def _complaint(self, name: str, quantity: Quantity, answer: object) -> str:
        """Describe what is wrong, without revealing the answer; "" when it is right."""
        value = as_number(answer)
        if value is None:
            return say.strange.format(name=name, answer=answer)
        if quantity.is_right(value):
            return ""
        size, miss = say.sizes[value > quantity.right], quantity.miss(value)
        if miss is None:
            return say.wrong.format(name=name, size=size)
        return say.wrong_because.format(name=name, size=size, why=self.said(getattr(self.words, miss)))

    def said(self, template: str) -> str:
        return template.format(**self.sizes)


def _some(one_or_several: tuple[str, str], things: Sequence[object]) -> str:
    return one_or_several[len(things) != 1].format(len(things))


def one_by_one(answers: tuple) -> tuple:
    """Return the answers, which may come as one tuple or list."""
    return tuple(answers[0]) if len(answers) == 1 and isinstance(answers[0], tuple | list) else answers


def as_number(answer: object) -> float | None:
    """Convert to a finite float, also from a numpy array of one element; None for anything else, bools included."""
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real) or not np.isfinite(answer):
        return None
    return float(answer)
