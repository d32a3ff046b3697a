"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.ch01_data import numbers
from lab_utils.exercises.ch01_data import words_predictions as words
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import numeric

PREDICTIONS: tuple[Exercise, ...] = ()

PREDICTIONS += (  # 01
    numeric("01.a", words.MeanOrSum, numbers.mean_or_sum, n=numbers.RANKS, rate=numbers.RATE),
    numeric("01.b", words.Messages, numbers.messages, given=("gradient_bytes", "least_bytes")),
    numeric("01.c", words.Exposed, numbers.exposed, given=("links", "tensor_bytes", "last_bytes"), n=numbers.RANKS),
    numeric("01.d", words.Factors, numbers.factors, n=numbers.RANKS, blocks=numbers.BATCH_BLOCKS),
PREDICTIONS += (  # 01b
    numeric("01.e", words.AccumulatedBytes, numbers.accumulated_bytes, given=("parameters", "microbatches")),
    numeric("01.f", words.LossWeights, numbers.loss_weights, given=("blocks",)),
    numeric(
        "01.g", words.EpochSteps, numbers.steps_of_epoch, given=("by_range", "by_rendezvous"), each=numbers.OWN_BLOCKS
    ),
    numeric("01.h", words.ReplicasApart, numbers.replicas_apart),
)
