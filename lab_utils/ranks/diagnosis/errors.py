"""Errors of ranks: one sentence, then the traceback of the first rank that failed."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_utils.comm.status.rank_state import RankState
from lab_utils.text import name_ranks, verb

if TYPE_CHECKING:
    from lab_utils.ranks.diagnosis.diagnosis import Diagnosis


_CUT_OFF = re.compile(r"/gloo/transport/|connections to the other ranks were cut")
_NO_NAME = re.compile(r"name '(\w+)' is not defined")


class RanksError(RuntimeError):
    """Base of the errors about ranks. Its text is one sentence, the same on every run.

    A notebook shows the text and below it `details`, not the lab's call stack; Python's tracebacks show `details` too.
    """

    def __init__(self, sentence: str, details: Sequence[str] = ()):
        super().__init__(sentence)
        self.details = "\n".join(details)
        if self.details:
            self.add_note(self.details)

    def add_hint(self, sentence: str) -> None:
        """Show this sentence below the details."""
        self.details = f"{self.details}\n{sentence}" if self.details else sentence
        self.add_note(sentence)

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}", *self.details.splitlines()]


class RanksInterrupted(KeyboardInterrupt):
    """The cell was interrupted, and every rank with it. Shown as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class StartError(RanksError):
    """The ranks could not be started."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a rank's traceback, named as in the notebook; `source` is its text, "" where unknown."""

    file: str
    line: int
    function: str
    source: str

    def __str__(self) -> str:
        return f"  {self.file}:{self.line} in {self.function}" + (f"\n    {self.source}" if self.source else "")


@dataclass(frozen=True, slots=True)
class Failure:
    """How one rank's call failed; `at_s` is on the machine's monotonic clock."""

    rank: int
    type: str
    message: str
    at_s: float
    frames: tuple[Frame, ...] = ()
    op: str = ""  # the op the rank was in, when the op failed rather than the rank's own code
    source: str = ""  # the line that issued that op
    rank_state: RankState | None = None  # the rank's state then
    mismatch: str = ""  # how its part of an op differed from another rank's
    outer: str = ""  # the exception that a library raised from it

    @property
    def own(self) -> bool:
        """Whether the rank's own code raised, rather than an op or an interrupt.

        What gloo says of a lost connection is a consequence of another rank's failure, wherever it surfaces.
        """
        return not (self.op or self.mismatch or self.type == "KeyboardInterrupt" or self._cut_off)

    @property
    def _cut_off(self) -> bool:
        return _CUT_OFF.search(self.message) is not None

    def how(self) -> str:
        """Return what happened, without the rank: ranks with the same words are named together."""
        if self.op:
            return f"left waiting in {self.op}"
        if self.type == "KeyboardInterrupt":
            return "interrupted"
        return f"raised {self.type}: {_plain(self.message) if self._cut_off else self.message}"

    def where(self) -> str:
        if self.op:
            return self.source
        return f"{self.frames[-1].file}:{self.frames[-1].line}" if self.frames else ""


class RankError(RanksError):
    """Code of a rank raised. `failures` has one entry per failed rank, the one that failed first at the front.

    Details: the traceback of the first group of ranks, and a line per other group.
    """

    def __init__(self, failures: list[Failure]):
        # A failed op is mostly a consequence of another rank's own exception, even if it came first.
        self.failures = sorted(failures, key=lambda failure: (not failure.own, failure.at_s, failure.rank))
        first = self.failures[0]
        self._began, *self._others = grouped(self.failures)
        reason = f": {_plain(first.message)}" if first.op else ""
        super().__init__(_sentence(self._began) + reason, self._lines())

    @property
    def rank(self) -> int:
        """The rank that failed first."""
        return self.failures[0].rank

    @property
    def missing_name(self) -> str:
        """The name that the first rank to fail did not know, "" when it failed otherwise."""
        first = self.failures[0]
        found = _NO_NAME.match(first.message) if first.type == "NameError" else None
        return found[1] if found else ""

    def _lines(self) -> list[str]:
        frames = self._began[0].frames
        head = [f"Traceback of {name_ranks(f.rank for f in self._began)}:", *map(str, frames)] if frames else []
        outer = [f"which became {self._began[0].outer}"] if self._began[0].outer else []
        return head + outer + told(self._others)


class RankDied(RanksError):
    """A rank's process ended. `deaths` is {rank: exit code}, a signal as a negative number.

    failures      how the call failed on the others
    how           {rank: what ended it} where more is known than the exit code
    between       it ended while no call ran
    """

    def __init__(
        self, deaths: dict[int, int], failures: Sequence[Failure] = (), how: Mapping[int, str] | None = None,
        between: bool = False,
    ):  # fmt: skip
        self.deaths, self.failures = deaths, list(failures)
        what = "; ".join(_died(deaths, how or {}))
        new = f"a new {name_ranks(deaths)}" if len(deaths) == 1 else f"new {name_ranks(deaths)}"
        place = f"{new} {verb(len(deaths), 'start')} at the next call, without what the old held"
        if between:
            what, place = f"{what} between two calls", f"{new} started, without what the old held; run the cell again"
        super().__init__(f"{what}: {place}", told(grouped(self.failures)))


def _died(deaths: dict[int, int], how: Mapping[int, str]) -> Iterator[str]:
    """Yield "rank 2 was ended by SIGKILL", for each way in which ranks ended."""  # fmt: skip
    groups: dict[str, list[int]] = {}
    for rank, code in sorted(deaths.items()):
        groups.setdefault(how.get(rank) or ended(code), []).append(rank)
    for what, ranks in groups.items():
        yield f"{name_ranks(ranks)} {what.replace('was', verb(len(ranks), 'were'), 1)}"


class RanksStuck(RanksError):
    """Ranks wait in ops that can never complete, or did not within the group's time-out; see `diagnosis`."""

    def __init__(self, diagnosis: Diagnosis, failures: Sequence[Failure] = ()):
        self.diagnosis, self.failures = diagnosis, list(failures)
        super().__init__(diagnosis.sentence, diagnosis.details.splitlines())


def grouped(failures: Sequence[Failure]) -> list[list[Failure]]:
    """Return failures grouped by equal words, in order of first occurrence."""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(failure.how(), []).append(failure)
    return list(groups.values())


def told(groups: list[list[Failure]]) -> list[str]:
    """Return a line per group, by rank: "ranks 0-1 were left waiting in barrier #3 on world (train.py:52)"."""
    by_rank = sorted(groups, key=lambda group: min(failure.rank for failure in group))
    return [_sentence(group) + (f" ({group[0].where()})" if group[0].where() else "") for group in by_rank]


def _sentence(group: list[Failure]) -> str:
    how = group[0].how()
    passive = "" if how.startswith("raised") else f"{verb(len(group), 'were')} "
    return f"{name_ranks(failure.rank for failure in group)} {passive}{how}"


def _plain(message: str) -> str:
    """Return gloo's message without its source path, addresses and advice."""
    message = re.sub(r"\[[^\]]*\.(cc|h|cpp):\d+\]\s*", "", message)
    timed_out = re.match(r"Timed out waiting (\d+)ms", message)
    if timed_out:
        return f"no answer within the group's {int(timed_out[1]) / 1000:g} s"
    return message.partition(" [127.")[0].partition(". This is typically caused")[0]


def ended(exit_code: int) -> str:
    """Return how a process ended: "was ended by SIGKILL", "ended with exit code 1"."""
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
