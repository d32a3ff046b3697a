"""Predictions of chapters 03 and 03b: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.framework.exercise import Exercise

PREDICTIONS: tuple[Exercise, ...] = ()
