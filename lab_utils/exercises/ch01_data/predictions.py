"""Predictions of chapters 01 to 01f: numbers that a reader commits to before the cells that show them."""

from lab_utils.exercises.ch01_data import numbers
from lab_utils.exercises.ch01_data import words_predictions as words
from lab_utils.exercises.ch01_data import words_predictions
from lab_utils.exercises.ch01_data.wire import numbers as wire
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
from lab_utils.exercises.ch01_data import words_predictions as words
from lab_utils.exercises.ch01_data.numbers import FLOAT64_BYTES, RANKS
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import Numbers, Quantity, numeric

PREDICTIONS: tuple[Exercise, ...] = ()


# ---------------------------------------------------------------------- 01c: memory
MICROBATCHES, FLOAT32_BYTES = 4, 4


def stages_wire(parameters: int, layers: int) -> Numbers:
    """Return the bytes per step of ZeRO-1, ZeRO-2 with micro-batches, and ZeRO-3, as multiples of an all-reduce's.

    A reduce-scatter and an all-gather are half of it each (Rajbhandari et al. 2020, section 7); `layers` are the
    parameters in layers, which ZeRO-3 gathers twice.
    """
    two, three = (MICROBATCHES + 1) / 2, (2 * parameters + layers) / (2 * parameters)
    asked = [
        Quantity(1.0, 0.02, half=0.5, piece=1 / RANKS, more=1.5, twice=2.0),
        Quantity(two, 0.02, as_one=1.0, all_each=float(MICROBATCHES), no_gather=MICROBATCHES / 2),
        Quantity(three, 0.06, as_plain=1.0, all_twice=2.0, three=3.0),
    ]
    return asked, {"two": two, "three": three}


def exposed_gather(parameters: int, messages: int, bytes_per_s: float, latency_s: float) -> Numbers:
    """Return the ms of ZeRO-1's all-gather by ring: latency per step, and bytes by bandwidth."""
    whole_s, others = parameters * FLOAT64_BYTES / bytes_per_s, RANKS - 1
    wire_s, latency_s = others / RANKS * whole_s, messages * others * latency_s
    right = 1e3 * (wire_s + latency_s)
    asked = Quantity(
        right, 0.08, hidden=0.0, no_latency=1e3 * wire_s, whole=1e3 * (whole_s + latency_s), as_reduce=2 * right,
        in_seconds=right / 1e3,
    )  # fmt: skip
    return [asked], {"wire": 1e3 * wire_s, "latency": 1e3 * latency_s, "right": right}


def redundancy_wire() -> Numbers:
    """Return the bytes per step of ZeroRedundancyOptimizer under DDP, as a multiple of ZeRO-1's."""
    all_reduce, broadcasts = 2, 1  # times (n - 1) / n of the parameters' bytes, on average over the ranks
    right = (all_reduce + broadcasts) / 2
    return [Quantity(right, 0.02, same=1.0, twice=2.0, broadcasts=0.5, all_gathers=2.5)], {"right": right}


def recomputed(blocks: int, length: int, channels: int) -> Numbers:
    """Return the bytes that a recomputed layer saves, and the FLOPs of a step as a multiple of those without."""
    right = blocks * length * channels * FLOAT32_BYTES
    asked = [
        Quantity(right, 0.01, nothing=0, elements=right / FLOAT32_BYTES, in_float64=2 * right, all_ranks=RANKS * right),
        Quantity(4 / 3, 0.11, same=1.0, twice=2.0, half_of_step=1.5),
    ]
    return asked, {"bytes": right}


PREDICTIONS += (
    numeric("01.i", words.StagesWire, stages_wire, ("parameters", "layers"), n=RANKS, parts=MICROBATCHES),
    numeric("01.j", words.ExposedGather, exposed_gather, ("parameters", "messages", "bytes_per_s", "latency_s")),
    numeric("01.k", words.RedundancyWire, redundancy_wire),
    numeric("01.l", words.Recomputed, recomputed, ("blocks", "length", "channels")),
_LOCAL = {"n": wire.RANKS, "steps": wire.STEPS, "every": wire.EVERY}

PREDICTIONS += (  # 01e and 01f
    numeric("01.q", words_predictions.LocalBytes, wire.local_bytes, given=("parameters",), **_LOCAL),
    numeric("01.r", words_predictions.Shrinks, wire.shrinks, n=wire.RANKS),
    numeric("01.s", words_predictions.Crossing, wire.crossing_bytes, given=("parameters",), per_node=wire.PER_NODE),
    numeric("01.t", words_predictions.ClusterMs, wire.cluster_ms, ranks=wire.CLUSTER_RANKS),
    numeric("01.u", words_predictions.SentMost, wire.sent_most, given=("parameters",)),
    numeric("01.v", words_predictions.WireMs, wire.wire_ms, given=("parameters",)),
    numeric("01.w", words_predictions.HalfStep, wire.half_step_ms, given=("step_ms", "exposed")),
from lab_utils.exercises.framework.exercise import Exercise
from lab_utils.exercises.framework.numeric import numeric

PREDICTIONS: tuple[Exercise, ...] = (
    numeric("01.m", words.MoreWorkers, numbers.more_workers),
    numeric("01.n", words.Paused, numbers.paused),
    numeric("01.o", words.CopiedParameters, numbers.copied_parameters),
    numeric("01.p", words.NoiseFloor, numbers.noise_floor),
)
