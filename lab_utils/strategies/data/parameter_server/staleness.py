"""Staleness of gradients, the workers' clocks that bound it, and a simulated time for their steps.

Stale synchronous parallel: Ho et al. 2013, "More Effective Distributed ML via a Stale Synchronous Parallel Parameter
Server" (NIPS 26), section 2. A worker's clock is the number of its gradients that were applied. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import nan

Pace = float | Sequence[float]  # seconds of each step of a worker, or of its steps in turn, repeated


@dataclass(frozen=True, slots=True)
class Applied:
    """A gradient that the server has applied.

    number      of this update, from 1
    worker      rank that sent the gradient
    clock       of the worker, this gradient included
    staleness   updates by others since the worker pulled the parameters of this gradient
    lead        steps that the worker was ahead of the slowest one at that pull
    at_s        seconds since the server began
    loss        of the worker's samples, with those parameters; NaN without a note
    """

    number: int
    worker: int
    clock: int
    staleness: int
    lead: int
    at_s: float
    loss: float = nan


class Clocks:
    """The workers' clocks: a worker more than `bound` steps ahead of the slowest may not pull.

    bound 0 is bulk synchronous: a step begins when all workers have finished the one before. None is no bound. With w
    workers the staleness is at most (w - 1)(2 bound + 1): since a worker's pull, each other one can advance from
    `bound` behind it to `bound` ahead, and one step further.
    """

    def __init__(self, workers: Iterable[int], bound: int | None = None) -> None:
        if bound is not None and bound < 0:
            raise ValueError(f"bound={bound}: a worker can be 0 or more steps ahead of the slowest; None is no bound")
        self.bound, self.updates = bound, 0
        self.clock = dict.fromkeys(workers, 0)
        self._pulled: dict[int, tuple[int, int]] = {}  # of each computing worker: updates before the pull, and the lead
        self.pull()

    @property
    def computing(self) -> list[int]:
        """Workers that have pulled and have not pushed since."""
        return sorted(self._pulled)

    @property
    def waiting(self) -> list[int]:
        """Workers that have pushed and may not pull yet."""
        return sorted(self.clock.keys() - self._pulled.keys())

    def apply(self, worker: int, at_s: float, loss: float = nan) -> Applied:
        """Record that a worker's gradient is applied; return its log entry."""
        pulled_at, lead = self._pulled.pop(worker)
        staleness = self.updates - pulled_at
        self.updates += 1
        self.clock[worker] += 1
        return Applied(self.updates, worker, self.clock[worker], staleness, lead, at_s, loss)

    def pull(self) -> list[int]:
        """Let all workers pull that may; return them."""
        slowest = min(self.clock.values())
        freed = [w for w in self.waiting if self.bound is None or self.clock[w] - slowest <= self.bound]
        for worker in freed:
            self._pulled[worker] = (self.updates, self.clock[worker] - slowest)
        return freed


class Pacing:
    """The simulated time at which each worker ends its step.

    due_s   worker → end of its current step, in seconds

    >>> Pacing({1: 1.0, 2: (1.0, 1.0, 5.0)})      # worker 2 is slow in every third step
    """

    def __init__(self, pace_s: Mapping[int, Pace]) -> None:
        self._steps_s = {worker: cycle(_steps(pace)) for worker, pace in pace_s.items()}
        self.due_s = {worker: next(steps_s) for worker, steps_s in self._steps_s.items()}

    def start(self, worker: int, at_s: float) -> None:
        """Begin the worker's next step."""
        self.due_s[worker] = at_s + next(self._steps_s[worker])

    def first(self, computing: Iterable[int]) -> int:
        """Return the worker whose step ends first; of several, the one with the lowest rank."""
        return min(computing, key=lambda worker: (self.due_s[worker], worker))


def shortest_s(pace_s: Mapping[int, Pace]) -> float:
    """Return the seconds of the shortest step of any worker."""
    return min(step_s for pace in pace_s.values() for step_s in _steps(pace))


def _steps(pace: Pace) -> Sequence[float]:
    return pace if isinstance(pace, Sequence) else (pace,)
