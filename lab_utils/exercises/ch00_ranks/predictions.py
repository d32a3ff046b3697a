"""Predictions of chapters 00 and 00b: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.framework.exercise import Exercise

PREDICTIONS: tuple[Exercise, ...] = ()
