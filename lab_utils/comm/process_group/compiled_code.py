"""While kernels are counted, code that torch.compile made is refused: it runs none that could be counted."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_COMPILER = "torch._dynamo"
STANCE = "fail_on_recompile"  # while we count, compiled code is always one to be compiled anew, and that fails


@contextmanager
def refused() -> Iterator[None]:
    """RuntimeError, with STANCE in its text, from compiled code that runs inside.

    The compiler takes a second to import, and most programs never do: where they do, they meet the refusal then.
    """
    with ExitStack() as stack:
        if _COMPILER in sys.modules:
            stack.enter_context(torch.compiler.set_stance(STANCE))
        else:
            stack.enter_context(_WhenLoaded(stack))
        yield


class _WhenLoaded:
    """A finder that finds the compiler where Python would, and sets its stance once it is loaded."""

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
