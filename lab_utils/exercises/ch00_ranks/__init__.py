"""Exercises of chapter 00."""

from lab_utils.exercises.ch00_ranks import questions, stuck

EXERCISES = (*questions.EXERCISES, *stuck.EXERCISES)
