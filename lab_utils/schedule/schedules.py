"""The schedules by name: `schedules.one_f_one_b(stages=4, microbatches=8)`."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import BW, F, Schedule


def gpipe(stages: int, microbatches: int) -> Schedule:
    """All forwards, then all backwards: one stage a rank (Huang et al. 2019, "GPipe").

    Bubble fraction (p-1)/(m+p-1) for equal stages without communication; every rank holds all m micro-batches.
    """
    _check(stages, microbatches)
    kind = np.repeat(np.array([F, BW], np.uint8), microbatches)
    microbatch = np.tile(np.arange(microbatches, dtype=np.int32), 2)
    return _one_stage_a_rank(
        "GPipe", stages, microbatches, np.tile(kind, (stages, 1)), np.tile(microbatch, (stages, 1))
    )


def one_f_one_b(stages: int, microbatches: int) -> Schedule:
    """One forward, one backward, after p - 1 - rank forwards to warm up: one stage a rank.

    Narayanan et al. 2019, "PipeDream", section 3.2; with a flush each step: Narayanan et al. 2021, "Memory-Efficient
    Pipeline-Parallel DNN Training", section 3. Same bubble as GPipe; rank r holds at most p - r micro-batches.
    """
    _check(stages, microbatches)
    p, m = stages, microbatches
    warm_up = np.minimum(m, p - 1 - np.arange(p, dtype=np.int32))[:, None]
    at = np.arange(2 * m, dtype=np.int32)[None]
    steady = at - warm_up  # even: a forward, odd: a backward, as long as there are forwards
    steady_end = 2 * (m - warm_up)
    backward = (steady >= steady_end) | ((steady >= 0) & (steady % 2 == 1))
    forward_number = np.where(steady < 0, at, warm_up + steady // 2)
    backward_number = np.where(steady >= steady_end, at - m, steady // 2)
    kind = np.where(backward, BW, F).astype(np.uint8)
    return _one_stage_a_rank("1F1B", p, m, kind, np.where(backward, backward_number, forward_number))


def _one_stage_a_rank(name: str, p: int, m: int, kind: np.ndarray, microbatch: np.ndarray) -> Schedule:
    """kind and microbatch: [p, ops of a rank]."""
    each = kind.shape[1]
    stage = np.repeat(np.arange(p, dtype=np.int32), each)
    return Schedule(name, p, m, np.arange(p + 1, dtype=np.int64) * each, kind.ravel(), stage, microbatch.ravel())


def _check(stages: int, microbatches: int) -> None:
    if stages < 1 or microbatches < 1:
        raise ValueError(f"stages={stages}, microbatches={microbatches}: at least one of each is needed")
