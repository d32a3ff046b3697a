"""One stage a rank, both backwards at once: GPipe and 1F1B."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import BW, F, Schedule
from lab_utils.schedule.schedules.made import check, one_stage_a_rank


def gpipe(stages: int, microbatches: int) -> Schedule:
    """All forwards, then all backwards: one stage a rank (Huang et al. 2019, "GPipe").

    Bubble fraction (p-1)/(m+p-1) for equal stages without communication; every rank holds all m micro-batches.
    """
    check(microbatches, stages=stages)
    kind = np.repeat(np.array([F, BW], np.uint8), microbatches)
    microbatch = np.tile(np.arange(microbatches, dtype=np.int32), 2)
    return one_stage_a_rank("GPipe", microbatches, np.tile(kind, (stages, 1)), np.tile(microbatch, (stages, 1)))


def one_f_one_b(stages: int, microbatches: int) -> Schedule:
    """One forward, one backward, after p - 1 - rank forwards to warm up: one stage a rank.

    Narayanan et al. 2019, "PipeDream", section 3.2; with a flush each step: Narayanan et al. 2021, "Memory-Efficient
    Pipeline-Parallel DNN Training", section 3. Same bubble as GPipe; rank r holds at most p - r micro-batches.
    """
    check(microbatches, stages=stages)
    p, m = stages, microbatches
    warm_up = np.minimum(m, p - 1 - np.arange(p, dtype=np.int32))[:, None]
    number = np.arange(m, dtype=np.int32)[None]
    forward_at = np.where(number < warm_up, number, 2 * number - warm_up)
    backward_at = np.where(number < m - warm_up, 2 * number + 1 + warm_up, m + number)
    row = 2 * m * np.arange(p)[:, None]  # where a rank's ops begin
    kind, microbatch = np.full(2 * m * p, BW, np.uint8), np.empty(2 * m * p, np.int32)
    kind[forward_at + row] = F
    microbatch[forward_at + row] = microbatch[backward_at + row] = number
    return one_stage_a_rank("1F1B", m, kind.reshape(p, -1), microbatch.reshape(p, -1))
