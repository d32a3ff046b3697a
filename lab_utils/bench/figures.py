"""Figures: benchmarks with their reference and target.

To add one, write a generator function that measures once and yields one or more samples, and register it:

    @figure("stop", "seconds until stop() of 4 ranks returns", "s", target=at_most(2))
    def stop() -> Iterator[Sample]:
        ...
        yield Sample(elapsed_s)

A figure's module is named in command.py, which imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from lab_utils.bench.spread import Spread


class Sample(NamedTuple):
    """One measurement and the reference measured next to it, if any, in the same unit."""

    measured: float
    reference: float | None = None


MEASURED, RATIO = "measured", "ratio"


@dataclass(frozen=True, slots=True)
class Target:
    """Upper limit of the measured value, or of its ratio to the reference."""

    most: float
    of: str


def at_most(most: float, of: str = MEASURED) -> Target:
    return Target(most, of)


Round = Callable[[], Generator[Sample, None, None]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A benchmark. `round` measures once: it starts what it needs, yields samples and stops what it started."""

    name: str
    description: str
    unit: str
    round: Round
    reference: str = ""
    target: Target | None = None
    rounds: int = 3


FIGURES: dict[str, Figure] = {}


def figure(
    name: str,
    description: str,
    unit: str,
    *,
    reference: str = "",
    target: Target | None = None,
    rounds: int = 3,
    **arguments: object,
) -> Callable[[Callable], Callable]:
    """Register the decorated generator function, called with `arguments`.

    A function may be decorated several times; the innermost decorator is registered and shown first.
    """

    def register(measure: Callable) -> Callable:
        if name in FIGURES:
            raise ValueError(f"two figures are named {name}")
        FIGURES[name] = Figure(name, description, unit, partial(measure, **arguments), reference, target, rounds)
        return measure

    return register


@dataclass(slots=True)
class Result:
    """The samples of a figure so far, and the error if measuring failed."""

    figure: Figure
    samples: list[Sample] = field(default_factory=list)
    error: str = ""

    @property
    def measured(self) -> Spread | None:
        return self._spread([sample.measured for sample in self.samples])

    @property
    def reference(self) -> Spread | None:
        return self._spread([reference for _, reference in self._pairs()])

    @property
    def ratio(self) -> Spread | None:
        """Spread of measured / reference over pairs, which were measured under the same load."""
        return self._spread([measured / reference for measured, reference in self._pairs()])

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None without a target or without samples."""
        target = self.figure.target
        spread = getattr(self, target.of) if target else None
        return None if spread is None else spread.median <= target.most

    def _pairs(self) -> list[tuple[float, float]]:
        return [(measured, reference) for measured, reference in self.samples if reference is not None]

    @staticmethod
    def _spread(numbers: list[float]) -> Spread | None:
        return Spread.of(numbers) if numbers else None
