"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.framework.exercise import Exercise

PREDICTIONS: tuple[Exercise, ...] = ()
