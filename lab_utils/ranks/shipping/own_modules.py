"""Modules from the user's own files: which they are, where ranks find them, and whether a file has changed.

A rank has one copy of a module, as any process has: its functions and classes are sent by name. Only modules that
ranks cannot import (created in memory, or from a folder no longer on the path) are sent by value.
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

Stamp = tuple[int, int]
_LIBRARY = tuple(os.path.join(sysconfig.get_path(key), "") for key in ("stdlib", "platstdlib"))
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def own_file(module: Any) -> str | None:
    """Return the file of a user's module; None for the standard library, installed packages and the lab."""
    if not isinstance(module, types.ModuleType):
        return None
    values = vars(module)
    name, file = values.get("__name__"), values.get("__file__")
    if not (isinstance(name, str) and isinstance(file, str) and os.path.isabs(file)) or name == "__main__":
        return None
    return file if _is_own(name, file) else None


def _is_own(name: str, file: str) -> bool:
    installed = file.startswith(_LIBRARY) or any(part in file for part in _INSTALLED)
    return not installed and name.partition(".")[0] != "lab_utils"


def is_importable(module: types.ModuleType) -> bool:
    """Whether ranks with this process's import path find this very module."""
    name = module.__name__
    if name == "__main__" or sys.modules.get(name) is not module:
        return False
    if (file := own_file(module)) is None:  # C code makes modules without a spec inside its own package
        spec = getattr(sys.modules.get(name.partition(".")[0]), "__spec__", None)
        return spec is not None and spec.loader is not None
    found = None if getattr(module, "__spec__", None) is None else _find(name)
    return found is not None and found.origin is not None and same_file(found.origin, file)


def _find(name: str) -> ModuleSpec | None:
    """Return the spec that a fresh import would find, using only finders that ranks have too."""
    parent = name.rpartition(".")[0]
    if parent and _find(parent) is None:
        return None
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    editable = [each for each in sys.meta_path if getattr(each, "__module__", "").startswith("__editable__")]
    return next((found for each in (PathFinder, *editable) if (found := each.find_spec(name, path))), None)


def same_file(file: str, other: str) -> bool:
    if file == other:
        return True
    return os.path.exists(file) and os.path.exists(other) and os.path.samefile(file, other)


def title(module: types.ModuleType) -> str:
    """Return the file's short name: "trainer.py", "package/part.py", "package/__init__.py"."""
    parts = module.__name__.count(".") + 1 + hasattr(module, "__path__")
    return "/".join(Path(module.__file__).parts[-parts:])


# ------------------------------------------------------------------ on a rank
class Source(SourceFileLoader):
    """Compiles the source file, never a .pyc, which looks valid after two edits of one size within one second."""

    source = b""

    def get_code(self, fullname: str) -> types.CodeType:
        self.source = self.get_data(self.path)
        return self.source_to_code(self.source, self.path)


class OwnSources:
    """Finds what the later finders find, and has the user's own files read as they are now."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        behind = sys.meta_path[sys.meta_path.index(cls) + 1 :]
        found = next((spec for each in behind if (spec := each.find_spec(name, path, target))), None)
        if found is None or not found.has_location or not _is_own(name, found.origin):
            return found
        found.stamp = stamp_of(_file_of(found.loader, found.origin))  # before it is read
        if type(found.loader) is SourceFileLoader:
            found.loader = Source(found.loader.name, found.loader.path)
        return found


def read_own_sources() -> None:
    """Install OwnSources on a rank, before it imports any user's module."""
    if OwnSources not in sys.meta_path:
        at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(at, OwnSources)


# ------------------------------------------------------------------ files that change
def stamp_of(file: str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:  # missing, as while an editor saves it
        return None
    return found.st_mtime_ns, found.st_size


def _file_of(loader: Any, origin: str) -> str:
    """Return the file to watch for changes: the archive of a module in a zip file."""
    return getattr(loader, "archive", origin)


class _Known(NamedTuple):
    module: types.ModuleType
    spec: ModuleSpec | None  # replaced by importlib.reload
    file: str
    stamp: Stamp | None


class OwnModules:
    """The user's modules of this process. `changed` costs one stat per file.

    imported    returns the stamp of a module's file when it was imported, None where that is unknown
    """

    def __init__(self, imported: Callable[[types.ModuleType, str], Stamp | None]):
        self._imported = imported
        self._known: dict[str, _Known] = {}
        self._last: tuple[str, int] | None = None

    def all(self) -> list[types.ModuleType]:
        self._find_new()
        return [known.module for known in self._known.values()]

    def changed(self) -> list[types.ModuleType]:
        """Return modules whose file has changed since their import or since the last call."""
        self._find_new()
        changed = []
        for name, known in list(self._known.items()):
            if sys.modules.get(name) is not known.module:
                self._known.pop(name, None)  # maybe already removed by another thread
                continue
            if getattr(known.module, "__spec__", None) is not known.spec:
                known = self._note(known.module, known.file)
            now = stamp_of(known.file)
            if now is not None and now != known.stamp:
                self._known[name] = known._replace(stamp=now)
                changed.append(known.module)
        return changed

    def skip_present(self) -> None:
        """Skip the modules imported so far: none is the user's, and reading them would copy a fork's shared memory."""
        self._last = _last_module()

    def _find_new(self) -> None:
        """Record user's modules imported since the last call, which are the last ones in sys.modules."""
        if self._last == (last := _last_module()):
            return
        for name in _names_since(self._last):
            module = sys.modules.get(name)
            if (file := own_file(module)) is not None and vars(module)["__name__"] == name:
                self._note(module, _file_of(vars(module).get("__loader__"), file))
        self._last = last

    def _note(self, module: types.ModuleType, file: str) -> _Known:
        stamp = self._imported(module, file) or stamp_of(file)
        self._known[module.__name__] = known = _Known(module, getattr(module, "__spec__", None), file, stamp)
        return known


def _last_module() -> tuple[str, int]:
    name = next(reversed(sys.modules))
    return name, id(sys.modules.get(name))


def _names_since(known: tuple[str, int] | None) -> list[str]:
    while True:
        names = []
        with contextlib.suppress(RuntimeError):  # another thread imported a module meanwhile
            for name in reversed(sys.modules):
                if known == (name, id(sys.modules.get(name))):
                    break
                names.append(name)
            return names
