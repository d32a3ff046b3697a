"""Judge code: run the reader's function on the ranks, by name, and examine its results here."""

from __future__ import annotations

from collections.abc import Callable

from lab_utils.exercises.framework import on_ranks
from lab_utils.exercises.framework.exercise import Finding, NotYet
from lab_utils.ranks import RankDied, RankError, Ranks, RanksStuck
from lab_utils.text import name_ranks

Examine = Callable[[Ranks, Callable | str], Finding | None]
STUB = "NotImplementedError"


def on_the_ranks(examine: Examine) -> Callable[..., Finding | NotYet | None]:
    """Return a judge of (ranks, function); a missing function or a stub is NotYet.

    If the function raises, gets stuck or ends a rank, that is a Finding, with the error's own sentence.
    """

    def judge(ranks: Ranks, function: Callable | str) -> Finding | NotYet | None:
        states = ranks.run(on_ranks.state_of, function)
        if missing := [rank for rank, state in enumerate(states) if state == "missing"]:
            return NotYet(f"{function} is no function on {name_ranks(missing)}: run the %%ranks cell that defines it")
        if all(state == "empty" for state in states):
            return NotYet()
        try:
            return examine(ranks, function)
        except RankError as error:
            return _failed(error)
        except (RanksStuck, RankDied) as error:
            return Finding((str(error),))

    return judge


def _failed(error: RankError) -> Finding | NotYet:
    if all(failure.type == STUB for failure in error.failures):
        return NotYet()
    first, *others = [str(error), *(line for line in error.details.splitlines() if not line.startswith((" ", "Trace")))]
    own = error.failures[0].where()
    return Finding((first if "on_ranks" in own else f"{first} ({own})", *others))  # name only the reader's lines
