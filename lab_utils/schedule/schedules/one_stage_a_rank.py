"""Schedules with one stage per rank: GPipe, 1F1B, ZB-H1 and ZB-H2."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import BW, B, F, Schedule, W, check_sizes


# Backwards split into B and W.
def zb_h1(stages: int, microbatches: int) -> Schedule:
    """ZB-H1: 1F1B's memory and a third of its bubble, if F, B and W take equally long; one stage per rank.

    Qi et al. 2024, "Zero Bubble Pipeline Parallelism", section 2.1. Rank r runs p - r warm-up forwards and delays r
    weight gradients, which fill the pauses at the end. Every rank holds p micro-batches (1F1B: p - r).
    """
    rank = np.arange(stages)[:, None]
    return _split("ZB-H1", stages, microbatches, stages - rank, rank)


def zb_h2(stages: int, microbatches: int) -> Schedule:
    """ZB-H2: no bubble for twice the memory, if F, B and W take equally long and m >= 2p - 1; one stage per rank.

    Qi et al. 2024, "Zero Bubble Pipeline Parallelism", section 2.2. Rank r runs 2 (p - r) - 1 warm-up forwards and
    delays 2r weight gradients; every rank holds 2p - 1 micro-batches. Ranks start and end one after the other, so the
    bubble rate is 0 and the bubble fraction is not.
    """
    rank = np.arange(stages)[:, None]
    return _split("ZB-H2", stages, microbatches, 2 * (stages - rank) - 1, 2 * rank)


def _split(name: str, p: int, m: int, warm_up: np.ndarray, kept_back: np.ndarray) -> Schedule:
    """B, W, F in turn; each rank's forwards run `warm_up` turns earlier, its weight gradients `kept_back` turns later.

    warm_up, kept_back   int[p, 1]
    """
    check_sizes(m, stages=p)
    number = np.arange(m)
    turns = [number - warm_up, np.broadcast_to(number, (p, m)), number + kept_back]
    places = {B: 0, W: 1, F: 2}
    kinds = (F, B, W)
    when = np.concatenate([3 * turn + places[kind] for kind, turn in zip(kinds, turns, strict=True)], axis=1)
    order = np.argsort(when, axis=1, kind="stable")
    return _in_line(name, m, np.repeat(np.array(kinds, np.uint8), m)[order], np.tile(number, 3)[order])


def gpipe(stages: int, microbatches: int) -> Schedule:
    """All forwards, then all backwards; one stage per rank (Huang et al. 2019, "GPipe").

    Bubble fraction (p-1)/(m+p-1) for equal stages without communication; every rank holds all m micro-batches.
    """
    check_sizes(microbatches, stages=stages)
    kind = np.repeat(np.array([F, BW], np.uint8), microbatches)
    microbatch = np.tile(np.arange(microbatches, dtype=np.int32), 2)
    return _in_line("GPipe", microbatches, np.tile(kind, (stages, 1)), np.tile(microbatch, (stages, 1)))


def one_f_one_b(stages: int, microbatches: int) -> Schedule:
    """One forward, one backward, after p - 1 - rank warm-up forwards; one stage per rank.

    Narayanan et al. 2019, "PipeDream", section 3.2; with a flush per step: Narayanan et al. 2021, "Memory-Efficient
    Pipeline-Parallel DNN Training", section 3. Same bubble as GPipe; rank r holds at most p - r micro-batches.
    """
    check_sizes(microbatches, stages=stages)
    p, m = stages, microbatches
    warm_up = np.minimum(m, p - 1 - np.arange(p, dtype=np.int32))[:, None]
    number = np.arange(m, dtype=np.int32)[None]
    forward_at = np.where(number < warm_up, number, 2 * number - warm_up)
    backward_at = np.where(number < m - warm_up, 2 * number + 1 + warm_up, m + number)
    row = 2 * m * np.arange(p)[:, None]  # offset of each rank's ops
    kind, microbatch = np.full(2 * m * p, BW, np.uint8), np.empty(2 * m * p, np.int32)
    kind[forward_at + row] = F
    microbatch[forward_at + row] = microbatch[backward_at + row] = number
    return _in_line("1F1B", m, kind.reshape(p, -1), microbatch.reshape(p, -1))


def _in_line(name: str, m: int, kind: np.ndarray, microbatch: np.ndarray) -> Schedule:
    """Build a schedule with stage r on rank r. kind and microbatch: [ranks, ops per rank]."""
    p, each = kind.shape
    stage = np.repeat(np.arange(p, dtype=np.int32), each)
    return Schedule.of_rows(name, p, m, kind, stage.reshape(p, each), microbatch)
