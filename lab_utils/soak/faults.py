"""Which faults, where and when: drawn from a seed, so that each one can be made again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = ("kill", "stop", "exception", "skip", "swap", "shape", "interrupt", "memory")
PROGRAMS = ("ddp", "fsdp", "pipeline", "plain", "training_script")
WITH_DIARY = {"training_script"}  # what they say and save is compared with what is shown and kept
STEPS = 3  # of a program; one that is to be interrupted goes on for ever
MICROBATCHES = 4

# Places that a program comes to in a step; for a pipeline, some of them with every micro-batch.
_TRAINING = ("start", "forward", "backward", "optimizer", "agree")
PLACES = {**dict.fromkeys(PROGRAMS, _TRAINING), "plain": ("start", "message", "agree")}
# Where a rank may do something else with the others than they do: at a step's last collectives, or with a message.
_WRONG_PLACES = {"skip": ("agree", "message"), "swap": ("agree",), "shape": ("agree", "message")}
# Ways in which a kind is done. First and second: of the two collectives, or of sending and receiving.
HOW = {
    "exception": ("ValueError", "KeyError", "RuntimeError", "OSError", "SystemExit"),
    "skip": ("first", "second"),
    "shape": ("longer", "shorter", "float64", "int32"),
}
_LATE_S = {"kill": 0.03, "stop": 0.03, "interrupt": 0.2}  # at most so long after coming to the place
_PAUSE_S = 0.5, 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    number   from 1 up, in the order of the seed
    rank     on which it strikes; an interrupt strikes when this rank comes to the place
    visit    how often the place was come to before in this step
    how      the way in which it is done, "" where there is but one
    late_s   how long after coming to the place
    pause_s  how long a stopped rank is stopped
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


def plan(seed: int, faults: int, ranks: int) -> list[Fault]:
    """So many faults of `ranks` ranks. A longer plan of the same seed and ranks begins with the shorter one."""
    rng = random.Random(seed)
    pairs = itertools.islice(_pairs(rng), faults)
    return [_fault(rng, number, *pair, ranks) for number, pair in enumerate(pairs, start=1)]


def _pairs(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Kinds and programs: every kind once in 8, every kind in every program once in 40."""
    while True:
        programs = {kind: rng.sample(PROGRAMS, len(PROGRAMS)) for kind in KINDS}
        for turn in range(len(PROGRAMS)):
            yield from [(kind, programs[kind][turn]) for kind in rng.sample(KINDS, len(KINDS))]


def _fault(rng: random.Random, number: int, kind: str, program: str, ranks: int) -> Fault:
    place = rng.choice([place for place in PLACES[program] if place in _WRONG_PLACES.get(kind, PLACES[program])])
    late_s = rng.choice([0.0, rng.uniform(0, _LATE_S.get(kind, 0.0))])  # on the spot, or wherever the rank is then
    return Fault(
        number, kind, program, rng.randrange(ranks), rng.randrange(STEPS), place,
        visit=rng.randrange(_visits(program, place, ranks)), how=rng.choice(HOW.get(kind, ("",))), late_s=late_s,
        pause_s=rng.uniform(*_PAUSE_S) if kind == "stop" else 0.0,
    )  # fmt: skip


def _visits(program: str, place: str, ranks: int) -> int:
    """How often a program comes to a place in one step."""
    if place == "message":
        return ranks - 1
    return MICROBATCHES if program == "pipeline" and place in ("forward", "backward") else 1
