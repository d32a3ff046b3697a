"""What goes wrong on ranks, said in one sentence, then the traceback of the first rank that failed."""

from __future__ import annotations

import linecache
import re
import signal
from dataclasses import dataclass

from lab_utils.ranks.printing import name_ranks


class RanksError(RuntimeError):
    """Base of the errors about ranks. A notebook shows its text, not the lab's own call stack."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class StartError(RanksError):
    """The ranks could not be started."""


class RankDied(RanksError):
    """A rank's process is gone."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a rank's traceback, named as the notebook names it."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        source = linecache.getline(self.file, self.line).strip()
        return f"  {self.file}:{self.line} in {self.function}" + (f"\n    {source}" if source else "")


@dataclass(frozen=True, slots=True)
class Failure:
    """How one rank's call ended badly; `at_s` is on the machine's monotonic clock."""

    rank: int
    type: str
    message: str
    at_s: float
    frames: tuple[Frame, ...] = ()
    op: str = ""  # the op that the rank was in, when the op failed rather than the rank's own code
    source: str = ""  # the line that came to that op

    def how(self) -> str:
        """What happened, without the rank: ranks with the same words are named together."""
        return f"left waiting in {self.op}" if self.op else f"{self.type}: {self.message}"

    def where(self) -> str:
        if self.op:
            return self.source
        return f"{self.frames[-1].file}:{self.frames[-1].line}" if self.frames else ""


class RankError(RanksError):
    """Code of a rank raised. `failures` has one entry per rank that failed, the one that began it first.

    Its text is one sentence, the same on every run; the traceback of those that began it and a line on each group
    of others are in `details`, which a notebook and Python's own tracebacks show below.
    """

    def __init__(self, failures: list[Failure]):
        # A failed op is most often the echo of another rank's own exception, whichever came first.
        self.failures = sorted(failures, key=lambda failure: (bool(failure.op), failure.at_s, failure.rank))
        first = self.failures[0]
        self._groups: dict[str, list[Failure]] = {}
        for failure in self.failures:
            self._groups.setdefault(failure.how(), []).append(failure)
        reason = f": {_plain(first.message)}" if first.op else ""
        super().__init__(_sentence(self._groups[first.how()]) + reason)
        if self.details:
            self.add_note(self.details)

    @property
    def rank(self) -> int:
        """The rank that failed first."""
        return self.failures[0].rank

    @property
    def details(self) -> str:
        began, *others = self._groups.values()
        frames = began[0].frames
        lines = [f"Traceback of {name_ranks(f.rank for f in began)}:", *map(str, frames)] if frames else []
        for group in sorted(others, key=lambda group: min(failure.rank for failure in group)):
            lines.append(_sentence(group) + (f" ({group[0].where()})" if group[0].where() else ""))
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        return [*super()._render_traceback_(), *self.details.splitlines()]


def _sentence(group: list[Failure]) -> str:
    verb = "raised" if not group[0].op else "was" if len(group) == 1 else "were"
    return f"{name_ranks(failure.rank for failure in group)} {verb} {group[0].how()}"


def _plain(message: str) -> str:
    """gloo's message without the path of its source file, its addresses and its advice."""
    message = re.sub(r"^\[[^\]]*\.(cc|h|cpp):\d+\]\s*", "", message)
    timed_out = re.match(r"Timed out waiting (\d+)ms", message)
    if timed_out:
        return f"no answer within the group's {int(timed_out[1]) / 1000:g} s"
    return message.partition(" [127.")[0].partition(". This is typically caused")[0]


def ended(exit_code: int) -> str:
    """How a process ended: "was ended by SIGKILL", "ended with exit code 1"."""
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
