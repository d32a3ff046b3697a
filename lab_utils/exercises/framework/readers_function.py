"""The function that a reader writes, on a rank: found by its name, and whether it is missing, empty or there."""

from __future__ import annotations

import dis
from collections.abc import Callable
from typing import Literal

from lab_utils.ranks.shipping.picklers import rank_namespace

Function = Callable | str  # the reader's: itself, or its name where a %%ranks cell defined it


def state_of(function: Function) -> Literal["missing", "empty", "there"]:
    """Return whether the function is defined on this rank, and whether its body does anything."""
    found = rank_namespace().get(function) if isinstance(function, str) else function
    if not callable(found):
        return "missing"
    return "empty" if does_nothing(found) else "there"


def does_nothing(function: Callable) -> bool:
    """Whether the body is `...`, `pass`, `return ...` or a docstring: it only loads constants, None or `...` last."""
    if not hasattr(function, "__code__"):
        return False
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP")]
    loaded = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    only_returns = all(step.opname in ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE") for step in steps)
    return only_returns and loaded[-1:] in ([None], [...])


def find(function: Function) -> Callable:
    return rank_namespace()[function] if isinstance(function, str) else function
