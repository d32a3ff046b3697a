"""What the kernel and the ranks share, without torch: modules that are loaded on ranks only, the checks' sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

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
