"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.ch01_data import words_predictions
from lab_utils.exercises.ch01_data.wire import numbers as wire
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import numeric

PREDICTIONS: tuple[Exercise, ...] = ()

_LOCAL = {"n": wire.RANKS, "steps": wire.STEPS, "every": wire.EVERY}

PREDICTIONS += (  # 01e and 01f
    numeric("01.q", words_predictions.LocalBytes, wire.local_bytes, given=("parameters",), **_LOCAL),
    numeric("01.r", words_predictions.Shrinks, wire.shrinks, n=wire.RANKS),
    numeric("01.s", words_predictions.Crossing, wire.crossing_bytes, given=("parameters",), per_node=wire.PER_NODE),
    numeric("01.t", words_predictions.ClusterMs, wire.cluster_ms, ranks=wire.CLUSTER_RANKS),
    numeric("01.u", words_predictions.SentMost, wire.sent_most, given=("parameters",)),
    numeric("01.v", words_predictions.WireMs, wire.wire_ms, given=("parameters",)),
    numeric("01.w", words_predictions.HalfStep, wire.half_step_ms, given=("step_ms", "exposed")),
)
