"""Pipeline schedules: a validated order of forwards and backwards per rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab_utils.schedule.draft import Draft, ScheduleOps
from lab_utils.schedule.ops import BETWEEN_RANKS, BW, KINDS, LOCAL, B, F, Step, W
from lab_utils.schedule.validity import why_not

__all__ = ["BETWEEN_RANKS", "BW", "KINDS", "LOCAL", "B", "F", "Schedule", "ScheduleOps", "Step", "W"]


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
    def from_torch_csv(cls, path: str | Path, name: str | None = None) -> Self:
        """Read a schedule file of torch.distributed.pipelining; the name defaults to the file's."""
        from lab_utils.schedule.torch_csv import read

        path = Path(path)
        return cls.of_steps(name or path.stem, read(path.read_text(encoding="utf-8")))

    def to_torch_csv(self, path: str | Path) -> None:
        """Write a file for torch.distributed.pipelining ("compute_only")."""
        from lab_utils.schedule.torch_csv import written

        Path(path).write_text(written(self), encoding="utf-8")
