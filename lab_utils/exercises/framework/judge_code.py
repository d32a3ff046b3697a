"""Judge code: run the reader's function on the ranks, by name, and examine its results here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lab_utils.exercises.framework.exercise import Exercise, Judged, NotYet
from lab_utils.exercises.framework.readers_function import Function, state_of
from lab_utils.exercises.framework.words import Function as say
from lab_utils.ranks import RankDied, RankError, Ranks, RanksStuck
from lab_utils.text import name_ranks

Examine = Callable[[Ranks, Function], Judged]
STUB = "NotImplementedError"
LAB_LINE = re.compile(r" \([^()]*on_ranks\w*\.py:\d+\)")  # of the lab's own source: only the reader's lines are named


def code(id: str, words: type, examine: Examine, values: Callable[..., Mapping[str, Any]] = dict) -> Exercise:
    """Return an exercise on a function that runs on the ranks; `examine` looks at what it did there.

    A missing function or a stub is NotYet. If it raises, gets stuck or ends a rank, the error's own sentence says so.
    """

    def judge(ranks: Ranks, function: Function) -> Judged:
        states = ranks.run(state_of, function)
        if missing := [rank for rank, state in enumerate(states) if state == "missing"]:
            return NotYet(say.missing.format(function=function, ranks=name_ranks(missing)))
        if all(state == "empty" for state in states):
            return NotYet()
        try:
            return examine(ranks, function)
        except RankError as error:
            return _failed(error)
        except (RanksStuck, RankDied) as error:
            return [LAB_LINE.sub("", str(error))]

    return Exercise(id, words, judge, values)


def _failed(error: RankError) -> Judged:
    if all(failure.type == STUB for failure in error.failures):
        return NotYet()
    first, *others = [str(error), *(line for line in error.details.splitlines() if not line.startswith((" ", "Trace")))]
    said = f"{first} ({error.failures[0].where()})", *others
    return [LAB_LINE.sub("", sentence) for sentence in said]
