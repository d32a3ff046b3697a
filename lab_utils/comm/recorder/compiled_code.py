"""Rejects code compiled by torch.compile while kernels are counted: its kernels cannot be counted."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_COMPILER = "torch._dynamo"
STANCE = "fail_on_recompile"  # while counting, all compiled code would have to be recompiled, and that fails


@contextmanager
def refused() -> Iterator[None]:
    """Raise RuntimeError, with STANCE in its text, from compiled code that runs inside.

    The compiler takes a second to import and most programs never use it: if imported later, its stance is set then.
    """
    with ExitStack() as stack:
        if _COMPILER in sys.modules:
            stack.enter_context(torch.compiler.set_stance(STANCE))
        else:
            stack.enter_context(_WhenLoaded(stack))
        yield


class _WhenLoaded:
    """A meta path finder that finds the compiler where Python would, and sets its stance once it is loaded."""

    def __init__(self, stack: ExitStack):
        self._stack = stack

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _COMPILER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_set(module: Any) -> None:
            load(module)
            self._stack.enter_context(torch.compiler.set_stance(STANCE))

        spec.loader.exec_module = load_and_set
        return spec
