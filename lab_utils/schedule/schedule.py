"""A pipeline schedule: for each rank the order of its forwards and backwards, and what each of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from lab_utils.timeline.program import Program
from lab_utils.timeline.trace import Op

# Forward; backward for the input's gradient; backward for the weights' gradient; both backwards at once.
KINDS = ("F", "B", "W", "BW")
F, B, W, BW = range(len(KINDS))
LOCAL, BETWEEN_RANKS = 0, 1  # classes of edges: within a rank nothing travels


@dataclass(frozen=True, eq=False)
class Schedule:
    """n ops of `ranks` ranks, rank by rank in the order in which each runs them.

    first        int64[ranks + 1]: ops of rank r are first[r] .. first[r+1] - 1
    kind         uint8[n]: a number of KINDS
    stage        int32[n]: which stage's layers, 0 .. stages - 1
    microbatch   int32[n]: 0 .. microbatches - 1

    ValueError, with the first thing wrong, when an op is missing or comes twice, a stage has two ranks, or a rank
    runs an op before what it needs.
    """

    name: str
    stages: int
    microbatches: int
    first: np.ndarray
    kind: np.ndarray
    stage: np.ndarray
    microbatch: np.ndarray

    def __post_init__(self) -> None:
        from lab_utils.schedule.validity import complaint  # it reads schedules

        if wrong := complaint(self):
            raise ValueError(f"{self.name}: {wrong}")

    @property
    def ranks(self) -> int:
        return len(self.first) - 1

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def ops(self) -> Sequence[Op]:
        """The ops as those of a trace, each made when it is asked for."""
        return ScheduleOps(self)

    @cached_property
    def rank(self) -> np.ndarray:
        """int32[n]: whose op it is."""
        return np.repeat(np.arange(self.ranks, dtype=np.int32), np.diff(self.first))

    @cached_property
    def program(self) -> Program:
        """What the simulator takes: a stream for each rank; an op's class of cost is kind * stages + stage."""
        needs = self.needs
        needed = needs >= 0
        count = np.zeros(len(self) + 1, np.int32)
        np.cumsum(needed, out=count[1:])
        source = needs[needed]
        between = self.rank[source] != self.rank[needed]
        classes = self.kind.astype(np.int32) * self.stages + self.stage
        return Program(self.first, classes, count, source, np.where(between, BETWEEN_RANKS, LOCAL).astype(np.uint8))

    @cached_property
    def needs(self) -> np.ndarray:
        """int32[n]: the op that each op needs besides those before it on its rank; -1 for the forwards of stage 0.

        F of a stage needs F of the stage before; B and BW those of the stage behind, in the last stage its own F; W
        needs its B. All of the same micro-batch.
        """
        done_f, done_b = self._position((F,)), self._position((B, BW))
        kind, stage, mb = self.kind, self.stage, self.microbatch
        found = np.full(len(self), -1, np.int32)
        inner = (kind == F) & (stage > 0)
        found[inner] = done_f[stage[inner] - 1, mb[inner]]
        back = (kind == B) | (kind == BW)
        last = back & (stage == self.stages - 1)
        found[last] = done_f[stage[last], mb[last]]
        back &= ~last
        found[back] = done_b[stage[back] + 1, mb[back]]
        late = kind == W
        found[late] = done_b[stage[late], mb[late]]
        return found

    @cached_property
    def peak_activations(self) -> tuple[int, ...]:
        """For each rank how many of its stages' micro-batches are in memory at most: from their F to their W or BW."""
        alive = np.cumsum((self.kind == F).astype(np.int64) - ((self.kind == W) | (self.kind == BW)))
        before = np.concatenate(([0], alive))[self.first[:-1]]
        return tuple((np.maximum.reduceat(alive, self.first[:-1]) - before).tolist())

    def __repr__(self) -> str:
        return f"<{self.name}: {self.ranks} ranks, {self.stages} stages, {self.microbatches} micro-batches>"

    def _position(self, kinds: tuple[int, ...]) -> np.ndarray:
        """int32[stages, microbatches]: where the op of one of these kinds stands; -1 where there is none."""
        table = np.full((self.stages, self.microbatches), -1, np.int32)
        (at,) = np.nonzero(np.logical_or.reduce([self.kind == kind for kind in kinds]))
        table[self.stage[at], self.microbatch[at]] = at
        return table


class ScheduleOps(Sequence[Op]):
    """Ops of a schedule as a trace would hold them: compute ops that know their stage and micro-batch."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    @property
    def kind(self) -> np.ndarray:
        """uint8[n]: a number of KINDS."""
        return self._schedule.kind

    def __len__(self) -> int:
        return len(self._schedule)

    @overload
    def __getitem__(self, at: int) -> Op: ...
    @overload
    def __getitem__(self, at: slice) -> list[Op]: ...
    def __getitem__(self, at):
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        s = self._schedule
        stage, microbatch, kind = int(s.stage[at]), int(s.microbatch[at]), KINDS[s.kind[at]]
        return Op(int(s.rank[at]), "compute", f"{kind}{microbatch}", phase=kind, stage=stage, microbatch=microbatch)
