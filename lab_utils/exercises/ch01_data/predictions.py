"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.ch01_data import numbers
from lab_utils.exercises.ch01_data import words_predictions as words
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import numeric

PREDICTIONS: tuple[Exercise, ...] = (
    numeric("01.m", words.MoreWorkers, numbers.more_workers),
    numeric("01.n", words.Paused, numbers.paused),
    numeric("01.o", words.CopiedParameters, numbers.copied_parameters),
    numeric("01.p", words.NoiseFloor, numbers.noise_floor),
)
