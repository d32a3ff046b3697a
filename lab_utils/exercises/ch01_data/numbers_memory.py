"""The numbers of chapter 01c: what ZeRO sends and exposes, and what recomputation saves."""

from __future__ import annotations

from lab_utils.exercises.ch01_data.numbers import FLOAT64_BYTES, RANKS
from lab_utils.exercises.framework.judge_numbers import Numbers, Quantity

MICROBATCHES, FLOAT32_BYTES = 4, 4
FORWARD, BACKWARD = 1, 2  # of 01.x: FLOPs, in forwards


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
    """Return the ms of ZeRO-1's all-gather by ring: latency per round, and bytes by bandwidth."""
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
        Quantity((2 * FORWARD + BACKWARD) / (FORWARD + BACKWARD), 0.11, same=1.0, twice=2.0, half_of_step=1.5),
    ]
    return asked, {"bytes": right}
