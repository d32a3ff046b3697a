"""Pipeline schedules: a validated order of forwards and backwards per rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lab_utils.schedule.draft import Draft, ScheduleOps
from lab_utils.schedule.ops import BETWEEN_RANKS, BW, KINDS, LOCAL, B, F, Step, W
from lab_utils.schedule.validity import why_not

__all__ = ["BETWEEN_RANKS", "BW", "KINDS", "LOCAL", "B", "F", "Schedule", "ScheduleOps", "Step", "W", "check_sizes"]


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Draft):
    """A draft that every rank can run to its end; F, B and W of a micro-batch's stage are on one rank.

    ValueError with the first error: an op is missing or duplicate, a stage has more ranks than `copies`, a rank runs
    an op before one that it needs, or ranks wait for each other in a circle.
    """

    def __post_init__(self) -> None:
        if wrong := why_not(self):
            raise ValueError(f"{self.name}: {wrong}")

    @classmethod
    def of_rows(
        cls,
        name: str,
        stages: int,
        m: int,
        kind: np.ndarray,
        stage: np.ndarray,
        microbatch: np.ndarray,
        copies: int = 1,
    ) -> Self:
        """Build from kind, stage and microbatch: [ranks, ops per rank]. Micro-batches >= m are dropped.

        The rest still runs to the end: an op needs only ops of its own micro-batch, and their order is kept. So a rule
        for, say, multiples of p works for every m.
        """
        there = microbatch < m
        first = np.concatenate(([0], np.cumsum(there.sum(1)))).astype(np.int64)
        columns = kind.astype(np.uint8), stage.astype(np.int32), microbatch.astype(np.int32)
        return cls(name, stages, m, first, *(column[there] for column in columns), copies)

    @classmethod
    def from_torch_csv(cls, path: str | Path, name: str | None = None) -> Self:
        """Read a schedule file of torch.distributed.pipelining; the name defaults to the file's."""
        from lab_utils.schedule.torch_csv import read

        path = Path(path)
        return cls.of_steps(name or path.stem, read(path.read_text(encoding="utf-8")))

    def to_torch_csv(self, path: str | Path) -> None:
        """Write a file for torch.distributed.pipelining ("compute_only")."""
        from lab_utils.schedule.torch_csv import written

        Path(path).write_text(written(self), encoding="utf-8")


def check_sizes(microbatches: int, **sizes: int) -> None:
    """Raise ValueError unless all sizes are whole numbers of at least 1."""
    sizes |= {"microbatches": microbatches}
    given = ", ".join(f"{name}={size!r}" for name, size in sizes.items())
    if not all(isinstance(size, int | np.integer) for size in sizes.values()):
        raise ValueError(f"{given}: whole numbers are needed")
    if min(sizes.values()) < 1:
        raise ValueError(f"{given}: at least one of each is needed")
