"""Results of all faults, as a table and as the list of those that had troubles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lab_utils.bench.spread import Spread
from lab_utils.soak.faults import KINDS
from lab_utils.soak.judge import UNKNOWN, Result, seconds_text
from lab_utils.text import columns

HEAD = (
    "fault",
    "times",
    "named right",
    "until named",
    "until usable",
    "usable",
    "variables lost",
    "not kept",
    "processes left",
)
_ALL = "all"


@dataclass(slots=True)
class Tally:
    """Results of all faults so far.

    left      number of processes left at the end
    files     temporary files left at the end
    restarts  number of restarts of all ranks
    ended_by  the error that ended the soak early, "" when none did
    """

    seed: int
    ranks: int
    results: list[Result] = field(default_factory=list)
    left: int = 0
    files: list[str] = field(default_factory=list)
    restarts: int = 0
    ended_by: str = ""

    @property
    def clean(self) -> bool:
        """Whether every fault was named, the ranks recovered, and nothing is left."""
        over = self.left or self.files or self.restarts or self.ended_by
        return not over and not any(result.troubles() for result in self.results)

    def table(self) -> str:
        """Return a table with a head, one line per kind that occurred, and one for all."""
        kinds = {kind: [result for result in self.results if result.fault.kind == kind] for kind in KINDS}
        rows = [HEAD, *(_cells(kind, found) for kind, found in kinds.items() if found), _cells(_ALL, self.results)]
        return "\n".join(columns(rows))

    def summary(self) -> str:
        named = sum(not result.misnamed for result in self.results)
        usable = sum(not result.unusable for result in self.results)
        return (
            f"{len(self.results)} faults on {self.ranks} ranks, seed {self.seed}: {named} named right, "
            f"{usable} followed by a correct all-reduce, {self.left} processes left, {len(self.files)} files left, "
            f"{self.restarts} restarts"
        )

    def troubles(self) -> Iterable[str]:
        """Yield each fault that had troubles, with the full texts and the command that repeats it."""
        if self.ended_by:
            yield f"ended early by {self.ended_by}"
        if self.files:
            yield f"temporary files left: {', '.join(self.files)}"
        for result in self.results:
            if found := result.troubles():
                again = f"python -m lab_utils soak --ranks {self.ranks} --seed {self.seed} --only {result.fault.number}"
                yield "\n".join([f"{result.fault.number}: {result.fault}", *found, f"again: {again}"])


def _cells(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    named = sum(not result.misnamed for result in results)
    usable = sum(not result.unusable for result in results)
    lost = sum(len(result.lost) for result in results)
    unkept = sum(len(result.unkept) for result in results)
    left = sum(abs(result.left) for result in results)
    until_named = _spread([result.named_s for result in results if not result.misnamed])
    until_usable = _spread([result.usable_s for result in results if not result.unusable])
    counts = map(str, (usable, lost, unkept, left))
    return name, str(len(results)), str(named), until_named, until_usable, *counts


def _spread(seconds: Sequence[float | None]) -> str:
    """Return median and 90th percentile as text."""
    known = [each for each in seconds if each is not None]
    if not known:
        return UNKNOWN
    spread = Spread.of(known)
    return f"{seconds_text(spread.median)} (p90 {seconds_text(spread.p90)})"
