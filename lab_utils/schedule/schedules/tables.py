"""Shared by the schedules: building from tables, and checking of sizes."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.schedule import Schedule


def check(microbatches: int, **sizes: int) -> None:
    """Raise ValueError unless all sizes are whole numbers of at least 1."""
    sizes |= {"microbatches": microbatches}
    given = ", ".join(f"{name}={size!r}" for name, size in sizes.items())
    if not all(isinstance(size, int | np.integer) for size in sizes.values()):
        raise ValueError(f"{given}: whole numbers are needed")
    if min(sizes.values()) < 1:
        raise ValueError(f"{given}: at least one of each is needed")


def one_stage_a_rank(name: str, m: int, kind: np.ndarray, microbatch: np.ndarray) -> Schedule:
    """Build a schedule with stage r on rank r. kind and microbatch: [ranks, ops per rank]."""
    p, each = kind.shape
    stage = np.repeat(np.arange(p, dtype=np.int32), each)
    return schedule_of_rows(name, p, m, kind, stage.reshape(p, each), microbatch)


def schedule_of_rows(
    name: str, stages: int, m: int, kind: np.ndarray, stage: np.ndarray, microbatch: np.ndarray, copies: int = 1
) -> Schedule:
    """Build a schedule from kind, stage and microbatch: [ranks, ops per rank]. Micro-batches >= m are dropped.

    The rest still runs to the end: an op needs only ops of its own micro-batch, and their order is kept. So a rule
    for, say, multiples of p works for every m.
    """
    there = microbatch < m
    first = np.concatenate(([0], np.cumsum(there.sum(1)))).astype(np.int64)
    columns = kind.astype(np.uint8), stage.astype(np.int32), microbatch.astype(np.int32)
    return Schedule(name, stages, m, first, *(column[there] for column in columns), copies)
