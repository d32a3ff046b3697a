"""What goes wrong on ranks, said in one sentence, then the traceback of the first rank that failed."""

from __future__ import annotations

import linecache
import re
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

    def how(self) -> str:
        """What happened, without the rank: ranks with the same words are named together."""
        if self.op:
            return f"left waiting {self.op}"
        where = f" ({self.frames[-1].file}:{self.frames[-1].line})" if self.frames else ""
        return f"{self.type}: {self.message}{where}"


class RankError(RanksError):
    """Code of a rank raised. `failures` has one entry per rank that failed, the one that began it first."""

    def __init__(self, failures: list[Failure]):
        # A failed op is most often the echo of another rank's own exception, whichever came first.
        self.failures = sorted(failures, key=lambda failure: (bool(failure.op), failure.at_s, failure.rank))
        super().__init__(self._text())

    @property
    def rank(self) -> int:
        """The rank that failed first."""
        return self.failures[0].rank

    def _text(self) -> str:
        """The sentence on those that began it, their traceback, and a line on each group of others."""
        first = self.failures[0]
        groups: dict[str, list[int]] = {}
        for failure in self.failures:
            groups.setdefault(failure.how(), []).append(failure.rank)
        beginners = groups.pop(first.how())
        lines = [_sentence(first, beginners)]
        if first.op:
            lines[0] += f": {_plain(first.message)}"
        if first.frames:
            lines += [f"Traceback of {name_ranks(beginners)}:", *map(str, first.frames)]
        other = {failure.how(): failure for failure in self.failures}
        lines += [_sentence(other[how], ranks) for how, ranks in sorted(groups.items(), key=lambda item: min(item[1]))]
        return "\n".join(lines)


def _sentence(failure: Failure, ranks: list[int]) -> str:
    verb = "raised" if not failure.op else "was" if len(ranks) == 1 else "were"
    return f"{name_ranks(ranks)} {verb} {failure.how()}"


def _plain(message: str) -> str:
    """gloo's message without the path of its source file, its addresses and its advice."""
    message = re.sub(r"^\[[^\]]*\.(cc|h|cpp):\d+\]\s*", "", message)
    timed_out = re.match(r"Timed out waiting (\d+)ms", message)
    if timed_out:
        return f"no answer within the group's {int(timed_out[1]) / 1000:g} s"
    return message.partition(" [127.")[0].partition(". This is typically caused")[0]
