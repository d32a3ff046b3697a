"""What the notebook's kernel and the ranks share, without torch: the reader's function, and sizes of the checks."""

from __future__ import annotations

import dis
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Literal

from lab_utils.ranks.shipping.picklers import rank_namespace

Function = Callable | str  # the reader's: itself, or its name where a %%ranks cell defined it

BATCH = 16  # blocks per step over all ranks, as in the chapter
BLOCKS, VOCABULARY, BLOCK = 40, 23, 8  # of the checks' small text and small GPT
CHANNELS, LEARNING_RATE = 12, 0.5
MICROBATCHES, SAMPLES = 6, 3  # of a pipeline's step: micro-batches, and blocks per micro-batch


class OnRanks:
    """A module that only ranks import, as it needs torch; its functions are sent there by name."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable:
        return partial(_call, self._module, name)


def _call(module: str, name: str, *args: Any) -> Any:
    return getattr(import_module(module), name)(*args)


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
