"""Staleness of gradients, and the workers' clocks that bound it.

Stale synchronous parallel: Ho et al. 2013, "More Effective Distributed ML via a Stale Synchronous Parallel Parameter
Server" (NIPS 26), section 2. A worker's clock is the number of its gradients that were applied. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan


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
