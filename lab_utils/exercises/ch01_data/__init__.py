"""Exercises of chapters 01 to 01d."""

from lab_utils.exercises.ch01_data import questions, questions_memory, questions_steps, questions_wire

EXERCISES = (
    *questions.EXERCISES,
    *questions_memory.EXERCISES,
    *questions_steps.EXERCISES,
    *questions_wire.EXERCISES,
)
