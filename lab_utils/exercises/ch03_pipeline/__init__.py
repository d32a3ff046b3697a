"""Exercises of chapter 03: bubbles, memory and traffic of a pipeline, orders by hand, and steps with planted bugs."""

from lab_utils.exercises.ch03_pipeline import judge_orders as orders
from lab_utils.exercises.ch03_pipeline import judge_stages as stages
from lab_utils.exercises.ch03_pipeline import numbers as n
from lab_utils.exercises.ch03_pipeline import words
from lab_utils.exercises.ch03_pipeline.predictions import PREDICTIONS
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.judge_code import code
from lab_utils.exercises.framework.judge_numbers import numeric

_STEP = {"p": n.RANKS, "m": n.MICROBATCHES}
_MANY = {"p": n.MANY_RANKS, "v": n.MANY_VIRTUAL_STAGES, "percent": n.PERCENT}
_SHORT = {"p": orders.RANKS, "m": orders.MICROBATCHES, "held": ", ".join(map(str, orders.ONE_F_ONE_B[:-1]))}
_UNEVEN = {"limit": orders.UNEVEN_LIMIT, "par": orders.PAR}

EXERCISES = (
    *PREDICTIONS,
    numeric("03.1", words.Bubbles, n.bubbles, **_STEP, v=n.VIRTUAL_STAGES),
    numeric("03.2", words.Enough, n.enough, **_MANY),
    numeric("03.3", words.Held, n.held, p=n.HELD_RANKS, m=n.HELD_MICROBATCHES),
    numeric("03.4", words.Boundaries, n.boundaries, given=("m", "b", "T", "C"), p=n.RANKS, v=n.VIRTUAL_STAGES),
    numeric("03.5", words.TwoBubbles, n.two_bubbles, **_STEP, makespan_ms=n.MAKESPAN_MS, span_ms=n.SPAN_MS),
    Exercise("03.6", words.OneFOneB, orders.judge_one_f_one_b, orders.one_f_one_b, _SHORT),
    Exercise("03.7", words.Circle, orders.judge_circle),
    Exercise("03.8", words.Uneven, orders.judge_uneven, orders.shortest, _UNEVEN),
    code("03.9", words.Step, stages.judge_step),
    code("03.10", words.Slots, stages.judge_slots),
    code("03.11", words.Weights, stages.judge_weights),
    code("03.12", words.Tied, stages.judge_tied),
    Exercise("03.13", words.AnySize, orders.judge_any_size, orders.sizes_asked),
    code("03.14", words.Loop, stages.judge_loop, lambda: {"reference": words.Loop.reference}),
)
