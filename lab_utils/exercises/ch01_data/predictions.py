"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.ch01_data import numbers
from lab_utils.exercises.ch01_data import numbers_memory as memory
from lab_utils.exercises.ch01_data import words_predictions as words
from lab_utils.exercises.ch01_data.wire import numbers as wire
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.judge_numbers import numeric

_LOCAL = {"n": numbers.RANKS, "steps": wire.STEPS, "every": wire.EVERY}

PREDICTIONS: tuple[Exercise, ...] = (
    # 01
    numeric("01.a", words.MeanOrSum, numbers.mean_or_sum, n=numbers.RANKS, rate=numbers.RATE),
    numeric("01.b", words.Messages, numbers.messages, ("gradient_bytes",), least_mb=numbers.LEAST_MB),
    numeric("01.c", words.Exposed, numbers.exposed, given=("links", "tensor_bytes", "last_bytes")),
    numeric("01.d", words.Factors, numbers.factors, n=numbers.RANKS, blocks=numbers.BATCH_BLOCKS),
    # 01b
    numeric("01.e", words.AccumulatedBytes, numbers.accumulated_bytes, given=("parameters", "microbatches")),
    numeric("01.f", words.LossWeights, numbers.loss_weights, given=("blocks",)),
    numeric(
        "01.g", words.EpochSteps, numbers.steps_of_epoch, given=("by_range", "by_rendezvous"), each=numbers.OWN_BLOCKS
    ),
    numeric("01.h", words.ReplicasApart, numbers.replicas_apart),
    # 01c
    numeric("01.i", words.StagesWire, memory.stages_wire, ("parameters", "layers"), parts=memory.MICROBATCHES),
    numeric("01.j", words.ExposedGather, memory.exposed_gather, ("parameters", "messages", "bytes_per_s", "latency_s")),
    numeric("01.k", words.RedundancyWire, memory.redundancy_wire),
    numeric("01.x", words.Recomputed, memory.recomputed, ("blocks", "length", "channels")),
    # 01d
    numeric("01.m", words.MoreWorkers, numbers.more_workers, few=numbers.FEW, many=numbers.MANY),
    numeric("01.n", words.Paused, numbers.paused),
    numeric("01.o", words.CopiedParameters, numbers.copied_parameters),
    numeric("01.p", words.NoiseFloor, numbers.noise_floor),
    # 01e and 01f
    numeric("01.q", words.LocalBytes, wire.local_bytes, given=("parameters",), **_LOCAL),
    numeric("01.r", words.Shrinks, wire.shrinks, n=numbers.RANKS),
    numeric("01.s", words.Crossing, wire.crossing_bytes, given=("parameters",), per_node=wire.PER_NODE),
    numeric("01.t", words.ClusterMs, wire.cluster_ms, **wire.CLUSTER_SIZES),
    numeric("01.u", words.SentMost, wire.sent_most, given=("parameters",), n=numbers.RANKS, often=wire.OFTEN),
    numeric("01.v", words.WireMs, wire.wire_ms, given=("parameters",), **wire.SLOW_SIZES),
    numeric("01.w", words.HalfStep, wire.half_step_ms, given=("step_ms", "exposed")),
)
