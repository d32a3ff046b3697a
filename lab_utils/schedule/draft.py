"""Drafts: an unchecked order of forwards and backwards per rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, overload

import numpy as np

from lab_utils.schedule.ops import BETWEEN_RANKS, BW, KINDS, LOCAL, B, F, Step, W, read, spelled, told
from lab_utils.timeline.ops import Op
from lab_utils.timeline.simulator.program import Program


@dataclass(frozen=True, eq=False)
class Draft:
    """n ops of `ranks` ranks, rank by rank in execution order; not validated.

    first        int64[ranks + 1]: ops of rank r are first[r] .. first[r+1] - 1
    kind         uint8[n]: index into KINDS
    stage        int32[n]: 0 .. stages - 1
    microbatch   int32[n]: 0 .. microbatches - 1
    copies       maximum number of ranks per stage: 1, in DualPipe 2
    """

    name: str
    stages: int
    microbatches: int
    first: np.ndarray
    kind: np.ndarray
    stage: np.ndarray
    microbatch: np.ndarray
    copies: int = 1

    @classmethod
    def of(
        cls,
        name: str,
        orders: Sequence[str | Sequence[str]],
        stages: int | None = None,
        microbatches: int | None = None,
        copies: int = 1,
    ) -> Self:
        """Parse one order per rank: `Schedule.of("mine", ["F0 F1 BW0 BW1", "F0 B0 W0 F1 B1 W1"])`.

        B is the gradient of the input, W of the weights, BW both. A number before them is the stage, by default the
        rank's number: 2F0 is the forward of micro-batch 0 through stage 2. The numbers of stages and micro-batches
        follow from the ops unless passed. ValueError when a word is no op.
        """
        return cls.of_steps(name, read(orders), stages, microbatches, copies)

    @classmethod
    def of_steps(
        cls,
        name: str,
        orders: Sequence[Sequence[Step]],
        stages: int | None = None,
        microbatches: int | None = None,
        copies: int = 1,
    ) -> Self:
        """Build from (kind, stage, micro-batch) tuples, one list per rank."""
        first = np.cumsum([0, *map(len, orders)], dtype=np.int64)
        columns = np.array([step for order in orders for step in order], np.int64).reshape(-1, 3).T
        kind, stage, microbatch = columns[0].astype(np.uint8), *columns[1:].astype(np.int32)
        most = [int(column.max(initial=-1)) + 1 for column in columns]
        stages = most[1] if stages is None else stages
        microbatches = most[2] if microbatches is None else microbatches
        return cls(name, stages, microbatches, first, kind, stage, microbatch, copies)

    @property
    def ranks(self) -> int:
        return len(self.first) - 1

    @property
    def virtual_stages(self) -> float:
        """Stages per rank: 1 with one stage per rank, and in DualPipe, where every stage has two copies.

        A full stage is 1 / ranks of the model: this many virtual stages.
        """
        return self.stages / self.ranks

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def ops(self) -> Sequence[Op]:
        """The ops as trace ops, created lazily."""
        return ScheduleOps(self)

    @cached_property
    def orders(self) -> tuple[str, ...]:
        """The order of each rank as text, the inverse of `of`."""
        return spelled(self.first, self.rank, self.kind, self.stage, self.microbatch)

    @property
    def steps(self) -> list[list[Step]]:
        """(kind, stage, micro-batch) of each op, per rank: the inverse of `of_steps`."""
        every = list(zip(self.kind.tolist(), self.stage.tolist(), self.microbatch.tolist(), strict=True))
        return [every[a:b] for a, b in zip(self.first[:-1], self.first[1:], strict=True)]

    def told(self, at: int) -> str:
        """Name an op: "F0 of stage 1"."""
        return told((self.kind[at], self.stage[at], self.microbatch[at]))

    @cached_property
    def rank(self) -> np.ndarray:
        """int32[n]: the rank of each op."""
        return np.repeat(np.arange(self.ranks, dtype=np.int32), np.diff(self.first))

    @cached_property
    def rank_of(self) -> np.ndarray:
        """int32[stages, microbatches]: the rank that runs a micro-batch's stage; -1 if none does."""
        found = np.full((self.stages, self.microbatches), -1, np.int32)
        found[self.stage, self.microbatch] = self.rank
        return found

    @cached_property
    def ranks_of_stage(self) -> tuple[tuple[int, ...], ...]:
        """Ranks that hold each stage: more than one in DualPipe, where they sum their gradients."""
        held = np.zeros((self.stages, self.ranks), bool)
        held[self.stage, self.rank] = True
        return tuple(tuple(np.flatnonzero(row).tolist()) for row in held)

    @cached_property
    def stages_of_rank(self) -> tuple[tuple[int, ...], ...]:
        """Stages that each rank holds."""
        holders = self.ranks_of_stage
        return tuple(tuple(s for s, ranks in enumerate(holders) if rank in ranks) for rank in range(self.ranks))

    @cached_property
    def program(self) -> Program:
        """The simulator's program: one stream per rank; the cost class of an op is kind * stages + stage."""
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
        """int32[n]: the op that each op needs besides earlier ones of its rank; -1 for the forwards of stage 0.

        F needs F of the previous stage; B and BW need that of the next stage, on the last stage their own F; W needs
        its B. All of the same micro-batch.
        """
        done_f, done_b = self.forward_at, self.backward_at
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
    def held(self) -> np.ndarray:
        """int64[n]: micro-batches of its stages that the rank holds during each op, counted from F to W or BW."""
        starts = np.cumsum(self.kind == F)
        ends = np.cumsum((self.kind == W) | (self.kind == BW))
        alive = starts - np.concatenate(([0], ends[:-1])) if len(self) else starts
        before = np.concatenate(([0], starts - ends))[self.first[:-1]]
        return alive - np.repeat(before, np.diff(self.first))

    @cached_property
    def peak_activations(self) -> tuple[float, ...]:
        """Peak per rank of micro-batches of a full stage held; one on one of v virtual stages counts 1/v."""
        most = np.maximum.reduceat(self.held, self.first[:-1])
        return tuple((most if self.ranks == self.stages else most * self.ranks / self.stages).tolist())

    @cached_property
    def forward_at(self) -> np.ndarray:
        """int32[stages, microbatches]: the index of the forward op, -1 if missing."""
        return self._where(self.kind == F)

    @cached_property
    def backward_at(self) -> np.ndarray:
        """int32[stages, microbatches]: the index of the input's backward op, B or BW, -1 if missing."""
        return self._where((self.kind == B) | (self.kind == BW))

    def _where(self, wanted: np.ndarray) -> np.ndarray:
        table = np.full((self.stages, self.microbatches), -1, np.int32)
        (at,) = np.nonzero(wanted)
        table[self.stage[at], self.microbatch[at]] = at
        return table

    def __repr__(self) -> str:
        return f"<{self.name}: {self.ranks} ranks, {self.stages} stages, {self.microbatches} micro-batches>"


class ScheduleOps(Sequence[Op]):
    """Ops of a schedule as trace ops: compute ops with stage and micro-batch."""

    def __init__(self, schedule: Draft) -> None:
        self._schedule = schedule

    @property
    def kind(self) -> np.ndarray:
        """uint8[n]: index into KINDS."""
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
