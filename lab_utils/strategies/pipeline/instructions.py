"""A schedule's instructions for one rank: its ops in order, where each receives from and sends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab_utils.schedule import Schedule
from lab_utils.schedule.schedule import KINDS, F, W

ACTIVATIONS, GRADIENTS = 0, 1  # direction of a message
EVALUATE = "evaluate"  # a forward without a backward


@dataclass(frozen=True, slots=True)
class Leg:
    """A message, as seen from one end.

    peer      the rank at the other end; it may be this one
    number    the same at both ends, unique within a step
    position  of the op at the other end, among the peer's ops
    boundary  between the stages boundary - 1 and boundary
    way       ACTIVATIONS or GRADIENTS
    """

    peer: int
    number: int
    position: int
    boundary: int
    way: int


@dataclass(frozen=True, slots=True)
class Task:
    """An op of this rank. `gets` and `puts` are None where nothing is received or sent."""

    kind: str
    stage: int
    microbatch: int
    gets: Leg | None
    puts: Leg | None


def tasks(schedule: Schedule, rank: int) -> list[Task]:
    """Return the ops of one rank, in order."""
    places = _Places(schedule)
    at = range(int(schedule.first[rank]), int(schedule.first[rank + 1]))
    return [places.task(KINDS[schedule.kind[i]], int(schedule.stage[i]), int(schedule.microbatch[i])) for i in at]


def forwards(tasks: Sequence[Task]) -> list[Task]:
    """Return the forwards only, in order: a forward depends only on forwards, so they cannot deadlock either."""
    return [replace(task, kind=EVALUATE) for task in tasks if task.kind == "F"]


class _Places:
    """Positions of the ops in a schedule that others receive from."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._at = np.zeros((2, schedule.stages, schedule.microbatches), np.int64)
        (at,) = np.nonzero(schedule.kind != W)
        way = np.where(schedule.kind[at] == F, ACTIVATIONS, GRADIENTS)
        self._at[way, schedule.stage[at], schedule.microbatch[at]] = at

    def task(self, kind: str, stage: int, microbatch: int) -> Task:
        gets = puts = None
        before, behind = stage > 0, stage < self.schedule.stages - 1
        if kind == "F":
            gets = self._leg(ACTIVATIONS, stage, microbatch, stage - 1) if before else None
            puts = self._leg(ACTIVATIONS, stage + 1, microbatch, stage + 1) if behind else None
        elif kind != "W":
            gets = self._leg(GRADIENTS, stage + 1, microbatch, stage + 1) if behind else None
            puts = self._leg(GRADIENTS, stage, microbatch, stage - 1) if before else None
        return Task(kind, stage, microbatch, gets, puts)

    def _leg(self, way: int, boundary: int, microbatch: int, other: int) -> Leg:
        s, at = self.schedule, self._at[way, other, microbatch]
        number = (way * s.stages + boundary) * s.microbatches + microbatch
        peer = int(s.rank[at])
        return Leg(peer, number, int(at - s.first[peer]), boundary, way)
