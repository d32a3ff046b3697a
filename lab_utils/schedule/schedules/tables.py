"""What the families share: schedules from tables, and the check of their sizes."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import Schedule


def check(microbatches: int, **sizes: int) -> None:
    """ValueError, in a sentence, for what is no whole number of at least 1."""
    sizes |= {"microbatches": microbatches}
    given = ", ".join(f"{name}={size!r}" for name, size in sizes.items())
    if not all(isinstance(size, int | np.integer) for size in sizes.values()):
        raise ValueError(f"{given}: whole numbers are needed")
    if min(sizes.values()) < 1:
        raise ValueError(f"{given}: at least one of each is needed")


def one_stage_a_rank(name: str, m: int, kind: np.ndarray, microbatch: np.ndarray) -> Schedule:
    """kind and microbatch: [ranks, ops of a rank]."""
    p, each = kind.shape
    stage = np.repeat(np.arange(p, dtype=np.int32), each)
    return schedule_of_rows(name, p, m, kind, stage.reshape(p, each), microbatch)


def schedule_of_rows(
    name: str, stages: int, m: int, kind: np.ndarray, stage: np.ndarray, microbatch: np.ndarray, copies: int = 1
) -> Schedule:
    """kind, stage and microbatch: [ranks, ops of a rank]. Micro-batches beyond the m-th are left out.

    What is left still runs to the end: an op needs ops of its own micro-batch alone, and they keep their order. So a
    rule for, say, multiples of p serves every m.
    """
    there = microbatch < m
    first = np.concatenate(([0], np.cumsum(there.sum(1)))).astype(np.int64)
    columns = kind.astype(np.uint8), stage.astype(np.int32), microbatch.astype(np.int32)
    return Schedule(name, stages, m, first, *(column[there] for column in columns), copies)
