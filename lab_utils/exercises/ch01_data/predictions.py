"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.ch01_data import numbers
from lab_utils.exercises.ch01_data import words_predictions as words
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import numeric

PREDICTIONS: tuple[Exercise, ...] = ()

PREDICTIONS += (  # 01b
    numeric("01.e", words.AccumulatedBytes, numbers.accumulated_bytes, given=("parameters", "microbatches")),
    numeric("01.f", words.LossWeights, numbers.loss_weights, given=("blocks",)),
    numeric(
        "01.g", words.EpochSteps, numbers.steps_of_epoch, given=("by_range", "by_rendezvous"), each=numbers.OWN_BLOCKS
    ),
    numeric("01.h", words.ReplicasApart, numbers.replicas_apart),
)
