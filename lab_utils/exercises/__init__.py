"""Exercises as data, and their checks.

>>> check("00.2", 48 * 2**20)                 # a number: right, or too small and which mistake gives that number
>>> check("00.4", ranks, "my_all_gather")     # code: runs the reader's function on the ranks
>>> predict("03.1", 0.3, 0.3, 0.2)            # kept; reveal("03.1") shows it beside the right numbers
>>> solution("00.2")                          # the explanation
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from lab_utils.exercises import ch00_ranks, ch01_data, ch03_pipeline
from lab_utils.exercises.framework import prediction
from lab_utils.exercises.framework.card import Card
from lab_utils.exercises.framework.exercise import Exercise, WrongCall
from lab_utils.exercises.framework.words import Call as say
from lab_utils.text import Named

_ALL = (*ch00_ranks.EXERCISES, *ch01_data.EXERCISES, *ch03_pipeline.EXERCISES)


def _place(exercise: Exercise) -> tuple[str, int, str]:
    """Return the place of "01.10": behind "01.9", and both behind predictions without a number, as "01.c"."""
    chapter, own = exercise.id.split(".")
    return (chapter, int(own), "") if own.isdigit() else (chapter, 0, own)


_in_order = sorted(_ALL, key=_place)
EXERCISES: dict[str, Exercise] = Named("exercise", {exercise.id: exercise for exercise in _in_order})

__all__ = ["EXERCISES", "Card", "Exercise", "WrongCall", "check", "predict", "reveal", "solution"]


def check(exercise: str, *answers: Any, **given: Any) -> Card:
    """Check the answers and return a card with the verdict and what is wrong; `...` counts as not answered.

    WrongCall, a TypeError, for an unknown exercise or missing arguments.
    """
    return _find(exercise).check(*answers, **given)


def predict(exercise: str, *answers: Any) -> Card:
    """Keep the reader's numbers until `reveal` shows them beside the right ones; `...` counts as no prediction.

    WrongCall, a TypeError, for an exercise without numbers, a wrong number of answers, or what is not a number.
    """
    return prediction.predict(_find(exercise), *answers)


def reveal(
    exercise: str, measured: Sequence[float] = (), simulated: Sequence[float] = (), **given: Any
) -> prediction.Revealed:
    """Return the prediction beside the right and the measured or simulated numbers, and what a miss usually means."""
    return prediction.reveal(_find(exercise), measured, simulated, **given)


def solution(exercise: str, **given: Any) -> Card:
    """Return the card that a right answer gives, with the explanation."""
    return _find(exercise).solution(**given)


def _spans() -> Iterator[str]:
    """Yield "00.1 to 00.8", for each chapter."""
    for _, ids in groupby(EXERCISES, lambda each: each.partition(".")[0]):
        first, *others = ids
        yield say.span.format(first=first, last=others[-1]) if others else first


def _find(exercise: str) -> Exercise:
    if exercise not in EXERCISES:
        raise WrongCall(say.no_exercise.format(exercise=exercise, spans=", ".join(_spans())))
    return EXERCISES[exercise]
