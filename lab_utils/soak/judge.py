"""Judges one fault: whether the error names it, whether the ranks were usable again in time, and what was lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from lab_utils.ranks.diagnosis.errors import RankDied, RankError, RanksStuck
from lab_utils.soak.faults import Fault
from lab_utils.soak.planted import message
from lab_utils.text import name_ranks

_NO_MEMORY = "can't allocate memory"  # torch's allocator
LATE_S = 15.0  # half of the group's time-out: only a wait that this time-out ends takes longer
UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call with a fault ended, and when. Times are of time.perf_counter.

    answers   what it returned, None when it raised
    shown_s   when `ranks.status()` showed the rank as stopped, None when it never did
    """

    ended_s: float
    error: BaseException | None = None
    answers: list | None = None
    shown_s: float | None = None


def complaint(fault: Fault, ending: Ending, ranks: int, right: list | None = None) -> str:
    """Return the ending expected and the actual one; "" when it names the fault correctly.

    right   what the call returns on all ranks without a fault, for a fault that it survives
    """
    if _NAMED[fault.kind](fault, ending, ranks) and ending.answers == right:
        return ""
    return f"wanted {_wanted(fault)}, got {_got(ending)}"


def _died(fault: Fault, ending: Ending, _: int) -> bool:
    return isinstance(ending.error, RankDied) and ending.error.deaths == {fault.rank: -signal.SIGKILL}


def _raised(fault: Fault, ending: Ending, _: int) -> bool:
    """Whether a RankError names the rank and the exception, also where pipelining wraps it in its own."""
    if not isinstance(ending.error, RankError) or ending.error.rank != fault.rank:
        return False
    said = f"{ending.error}\n{ending.error.details}"
    if fault.kind == "memory":
        return "MemoryError" in said or _NO_MEMORY in said
    return f"{fault.how}: " in said and message(fault) in said


def _stuck(fault: Fault, ending: Ending, ranks: int) -> bool:
    if not isinstance(ending.error, RanksStuck):
        return False
    found = ending.error.diagnosis
    return found.certain and found.kind in FITTING[fault.kind] and bool(suspects(fault, ranks) & set(found.ranks))


def suspects(fault: Fault, ranks: int) -> set[int]:
    """Return the ranks that a diagnosis may blame; of two ranks that differ, either."""
    if ranks == 2:
        return {0, 1}
    neighbour = {(fault.rank + 1) % ranks} if (fault.kind, fault.place) == ("shape", "message") else set()
    return {fault.rank} | neighbour


def _interrupted(_: Fault, ending: Ending, ranks: int) -> bool:
    """Whether the call was interrupted without ending a rank."""
    return (
        isinstance(ending.error, KeyboardInterrupt) and str(ending.error) == f"{name_ranks(range(ranks))} interrupted"
    )


def _outlived(_fault: Fault, ending: Ending, _ranks: int) -> bool:
    return ending.error is None and ending.shown_s is not None


# Kinds of diagnosis that fit. A rank that skips an op reaches its next one or its end; the kind depends on which.
FITTING = {"skip": {"mismatch", "left out", "unmatched", "cycle"}, "swap": {"mismatch"}, "shape": {"mismatch"}}
_NAMED: dict[str, Callable[[Fault, Ending, int], bool]] = {
    "kill": _died, "exception": _raised, "memory": _raised, "interrupt": _interrupted, "stop": _outlived,
    **dict.fromkeys(FITTING, _stuck),
}  # fmt: skip


def _wanted(fault: Fault) -> str:
    rank = fault.rank
    if fault.kind in FITTING:
        return f"RanksStuck that blames rank {rank}, for one of {', '.join(sorted(FITTING[fault.kind]))}"
    return {
        "kill": f"RankDied of rank {rank} alone",
        "exception": f"RankError of rank {rank}, {fault.how}",
        "memory": f"RankError of rank {rank}, out of memory",
        "interrupt": "KeyboardInterrupt with no rank ended",
        "stop": f"rank {rank} shown as stopped, then the right answers",
    }[fault.kind]


def _got(ending: Ending) -> str:
    error = ending.error
    if error is None:
        shown = "shown as stopped" if ending.shown_s is not None else "nothing shown"
        return f"{shown}, then {ending.answers}"
    found = getattr(error, "diagnosis", None)
    kind = f" ({found.kind} by {found.ranks}, {'certain' if found.certain else 'uncertain'})" if found else ""
    details = getattr(error, "details", "")
    return f"{type(error).__name__}{kind}: {error}" + (f"\n{details}" if details else "")


@dataclass(slots=True)
class Result:
    """Result of one fault.

    misnamed   the error expected and the actual one, "" when it named the fault correctly
    named_s    seconds from the fault until it was named, None when it never struck
    unusable   why the next call did not give the right sum, "" when it did
    usable_s   seconds from the fault until that call had returned
    lost       ranks that lived and lost their variables
    unkept     what a program with a diary lost, printed twice or saved half, and temporary files left
    left       number of processes more than before
    """

    fault: Fault
    misnamed: str = ""
    named_s: float | None = None
    unusable: str = ""
    usable_s: float | None = None
    lost: list[int] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)
    left: int = 0

    def troubles(self) -> list[str]:
        """Return all that went wrong, one text per trouble, with the reason."""
        lost = f"{name_ranks(self.lost)} lost their variables" if self.lost else ""
        left = f"{abs(self.left)} processes {'more' if self.left > 0 else 'fewer'} than before" if self.left else ""
        named = f"MISNAMED: {self.misnamed}" if self.misnamed else ""
        late = f"LATE: usable only after {seconds_text(self.usable_s)}" if (self.usable_s or 0.0) > LATE_S else ""
        usable = f"NOT USABLE: {self.unusable}" if self.unusable else ""
        unkept = "NOT KEPT: " + "\n".join(self.unkept) if self.unkept else ""
        return [trouble for trouble in (named, late, usable, lost, unkept, left) if trouble]

    def line(self) -> str:
        """Return one line of progress: the first line of each trouble, and the times."""
        said = "; ".join(trouble.partition("\n")[0] for trouble in self.troubles())
        times = f"named after {seconds_text(self.named_s)}, usable after {seconds_text(self.usable_s)}"
        return f"{self.fault}: {said + '; ' if said else ''}{times}"


def seconds_text(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds:.2f} s"
