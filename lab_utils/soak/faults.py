"""Faults drawn from a seed (kind, place, time), so that each can be repeated."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = ("kill", "stop", "exception", "skip", "swap", "shape", "interrupt", "memory")
PROGRAMS = ("ddp", "fsdp", "pipeline", "plain", "training_script")
WITH_DIARY = {"training_script"}  # programs whose output and files are compared with what is shown and kept
STEPS = 3  # per program; one with an interrupt as its fault runs for ever
MICROBATCHES = 4

# Places in a step; a pipeline reaches some of them with every micro-batch.
_TRAINING = ("start", "forward", "backward", "optimizer", "agree")
PLACES = {**dict.fromkeys(PROGRAMS, _TRAINING), "plain": ("start", "message", "agree")}
# Places where a rank may deviate from the others: at a step's last collectives, or at a message.
_WRONG_PLACES = {"skip": ("agree", "message"), "swap": ("agree",), "shape": ("agree", "message")}
# Variants per kind. "first" and "second" of the two collectives, or of send and receive.
HOW = {
    "exception": ("ValueError", "KeyError", "RuntimeError", "OSError", "SystemExit"),
    "skip": ("first", "second"),
    "shape": ("longer", "shorter", "float64", "int32"),
}
_LATE_S = {"kill": 0.03, "stop": 0.03, "interrupt": 0.2}  # maximum delay after reaching the place
_PAUSE_S = 0.5, 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    number   from 1 up, in the seed's order
    rank     the rank it strikes; an interrupt strikes when this rank reaches the place
    visit    number of earlier visits to the place in this step
    how      its variant, "" where there is only one
    late_s   seconds after reaching the place
    pause_s  seconds that a stopped rank is stopped
    """

    number: int
    kind: str
    program: str
    rank: int
    step: int
    place: str
    visit: int = 0
    how: str = ""
    late_s: float = 0.0
    pause_s: float = 0.0

    def __str__(self) -> str:
        how = f" {self.how}" if self.how else ""
        again = f" {self.visit}" if self.visit else ""
        late = f" + {1e3 * self.late_s:.0f} ms" if self.late_s else ""
        return f"{self.kind}{how} of rank {self.rank} in {self.program}, step {self.step}, {self.place}{again}{late}"


def draw_faults(seed: int, count: int, ranks: int) -> list[Fault]:
    """Return `count` faults to inject into `ranks` ranks; a larger count of a seed begins with the same faults."""
    rng = random.Random(seed)
    pairs = itertools.islice(_pairs(rng), count)
    return [_fault(rng, number, *pair, ranks) for number, pair in enumerate(pairs, start=1)]


def _pairs(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (kind, program): every kind once in 8, every kind in every program once in 40."""
    while True:
        programs = {kind: rng.sample(PROGRAMS, len(PROGRAMS)) for kind in KINDS}
        for turn in range(len(PROGRAMS)):
            yield from [(kind, programs[kind][turn]) for kind in rng.sample(KINDS, len(KINDS))]


def _fault(rng: random.Random, number: int, kind: str, program: str, ranks: int) -> Fault:
    place = rng.choice([place for place in PLACES[program] if place in _WRONG_PLACES.get(kind, PLACES[program])])
    late_s = rng.choice([0.0, rng.uniform(0, _LATE_S.get(kind, 0.0))])  # at the place, or some time after it
    return Fault(
        number, kind, program, rng.randrange(ranks), rng.randrange(STEPS), place,
        visit=rng.randrange(_visits(program, place, ranks)), how=rng.choice(HOW.get(kind, ("",))), late_s=late_s,
        pause_s=rng.uniform(*_PAUSE_S) if kind == "stop" else 0.0,
    )  # fmt: skip


def _visits(program: str, place: str, ranks: int) -> int:
    """Return how often a program reaches a place in one step."""
    if place == "message":
        return ranks - 1
    return MICROBATCHES if program == "pipeline" and place in ("forward", "backward") else 1
