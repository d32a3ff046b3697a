"""A simulated time for the workers' steps: how long each takes, and which ends first. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

Pace = float | Sequence[float]  # seconds of each step of a worker, or of its steps in turn, repeated


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
