"""Names of a package that are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package whose names are in submodules: {name: submodule} (PEP 562).

    A submodule that begins with "lab_utils." is an absolute module name.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 - the names that Python calls
        if name not in home:
            error = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(error, name=name, obj=sys.modules[package])  # Python then suggests similar names
        module = home[name] if home[name].startswith("lab_utils.") else f"{package}.{home[name]}"
        return getattr(import_module(module), name)

    def __dir__() -> list[str]:  # noqa: N807
        return sorted([*vars(sys.modules[package]), *home])

    return __getattr__, __dir__
