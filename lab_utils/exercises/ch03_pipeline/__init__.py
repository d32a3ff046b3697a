"""Exercises of chapter 03: bubbles, memory and traffic of a pipeline, orders by hand, and steps with planted bugs."""

from __future__ import annotations

from lab_utils.exercises.ch03_pipeline import questions_amounts, questions_bubbles, questions_code, questions_orders

_ALL = (
    *questions_bubbles.EXERCISES,
    *questions_amounts.EXERCISES,
    *questions_orders.EXERCISES,
    *questions_code.EXERCISES,
)
EXERCISES = tuple(sorted(_ALL, key=lambda exercise: int(exercise.id.partition(".")[2])))
