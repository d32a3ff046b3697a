"""Looped schedules, with several virtual stages per rank: rank r of p holds stages r, p + r, 2p + r and so on."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import BW, F, Schedule, check_sizes


def interleaved(ranks: int, microbatches: int, virtual_stages: int = 2) -> Schedule:
    """1F1B with `virtual_stages` smaller stages per rank: ranks x virtual_stages stages of the model.

    Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", section
    2.2. Each rank runs a group of p micro-batches through one of its v virtual stages, then through the next, after a
    warm-up of (v - 1) p + 2 (p - 1 - rank) forwards. For equal virtual stages, m >= p and no communication the bubble
    fraction is (p-1)/(vm+p-1); rank 0 holds 1 + (p-1)/(pv) times the activations of 1F1B if p divides m. Otherwise
    group sizes differ by at most 1 and are at least p, so that the bubble is the same and memory grows a little.

    If p divides m, its length with short messages is m T + (p-1) T/v + (2vp - 2) T_comm, with T = F + B + W of a
    rank's micro-batch. Qi et al. 2024, "Zero Bubble Pipeline Parallelism", table 5, has p messages less, as its
    program lets only the first micro-batch of each group wait for the message to the next virtual stage.
    """
    check_sizes(microbatches, ranks=ranks, virtual_stages=virtual_stages)
    p, v, m = ranks, virtual_stages, microbatches
    groups = max(1, m // p)
    size = -(-m // groups)
    number = np.arange(groups * size * v)  # of a rank's forwards, and of its backwards
    group, rest = np.divmod(number, size * v)
    virtual_stage, place = np.divmod(rest, size)
    rank = np.arange(p)[:, None]
    warm_up = (v - 1) * size + 2 * (p - 1 - rank)
    # Backward `number` runs at 2 * number + 1, right after forward number + warm_up.
    when = np.concatenate((2 * (number - warm_up), np.broadcast_to(2 * number + 1, (p, len(number)))), axis=1)
    order = np.argsort(when, axis=1, kind="stable")
    kind = np.repeat(np.array([F, BW], np.uint8), len(number))
    stage = np.concatenate((virtual_stage, v - 1 - virtual_stage)) * p + rank
    microbatch = np.tile(_numbered(groups, size, m)[group, place], 2)
    rows = kind[order], np.take_along_axis(stage, order, 1), microbatch[order]
    return Schedule.of_rows("Interleaved 1F1B", p * v, m, *rows)


def _numbered(groups: int, size: int, m: int) -> np.ndarray:
    """int[groups, size]: micro-batches 0 .. m - 1, group by group; smaller groups are padded with m."""
    full = groups - (groups * size - m)
    there = np.ones((groups, size), bool)
    there[full:, -1] = False
    numbers = np.full((groups, size), m)
    numbers[there] = np.arange(m)
    return numbers


def looped_bfs(ranks: int, microbatches: int, virtual_stages: int = 2) -> Schedule:
    """Breadth-first: all micro-batches through a virtual stage before the next; ranks x virtual_stages stages.

    Lamy-Poirier 2023, "Breadth-First Pipeline Parallelism", section 4.1. Bubble fraction as interleaved 1F1B, for
    any m >= p; every rank holds all m micro-batches, as in GPipe.
    """
    check_sizes(microbatches, ranks=ranks, virtual_stages=virtual_stages)
    p, m = ranks, microbatches
    rank = np.arange(p)[:, None]
    down = np.repeat(np.arange(virtual_stages), m)
    stage = np.concatenate((down, down[::-1])) * p + rank
    kind = np.broadcast_to(np.repeat(np.array([F, BW], np.uint8), virtual_stages * m), stage.shape)
    microbatch = np.broadcast_to(np.tile(np.arange(m), 2 * virtual_stages), stage.shape)
    return Schedule.of_rows("LoopedBFS", p * virtual_stages, m, kind, stage, microbatch)
