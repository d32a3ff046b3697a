"""Chapter 03: how long a pipeline stands idle, what it holds and sends, orders by hand, and steps with planted bugs."""

from __future__ import annotations

from lab_utils.exercises import pipeline_amounts, pipeline_bubbles, pipeline_code, pipeline_orders

_ALL = (*pipeline_bubbles.EXERCISES, *pipeline_amounts.EXERCISES, *pipeline_orders.EXERCISES, *pipeline_code.EXERCISES)
EXERCISES = tuple(sorted(_ALL, key=lambda exercise: int(exercise.id.partition(".")[2])))
