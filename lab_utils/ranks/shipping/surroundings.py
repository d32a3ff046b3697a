"""The working folder and import path that ranks share with their notebook.

Both follow the notebook from call to call. What cells on the ranks have changed is kept.
"""

from __future__ import annotations

import difflib
import os
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import NamedTuple

from lab_utils.ranks.shipping.own_modules import OwnModules, Stamp, stamp_of, title


class Surroundings(NamedTuple):
    """The notebook's folder and path at a call. `stale` names modules that are older there than their file."""

    folder: str | None
    path: list[str]
    stale: tuple[str, ...] = ()


def _as_imported(module: types.ModuleType, file: str) -> Stamp | None:
    """Return (0, 0), which no file has, when the .pyc of the import is for another version of the file; else None."""
    cached = getattr(getattr(module, "__spec__", None), "cached", None)
    wrote = type(getattr(module, "__loader__", None)) is SourceFileLoader and not sys.dont_write_bytecode
    if not (cached and wrote and os.access(cached, os.W_OK)):
        return None
    with open(cached, "rb") as pyc:
        head = pyc.read(16)
    now = stamp_of(file)
    flags, seconds, size = (int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12))
    if flags or now is None or (seconds, size) == (now[0] // 10**9 & 0xFFFFFFFF, now[1] & 0xFFFFFFFF):
        return None
    return 0, 0


modules_here = OwnModules(_as_imported)
_path: list[list[str]] = [[], []]  # sys.path at the last call, and the version for ranks


def surroundings() -> Surroundings:
    """Return the notebook's surroundings at a call; print, once per change of a file, which modules are older here."""
    if sys.path != _path[0]:
        _path[:] = list(sys.path), [_absolute(entry) for entry in sys.path if isinstance(entry, str)]
    stale = modules_here.changed()
    if stale and _reloads_by_itself():
        stale = []
    for module in stale:
        print(
            f"{title(module)} has changed since this notebook imported it: the ranks run the file as it is now; "
            f"importlib.reload({module.__name__}) reloads it here",
            file=sys.stderr,
        )
    return Surroundings(_folder(), _path[1], tuple(module.__name__ for module in stale))


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return None


def _absolute(entry: str) -> str:
    """Return a relative entry as Python resolves it, from the folder where it was first used; "" stays relative."""
    if not entry or os.path.isabs(entry):
        return entry
    finder = sys.path_importer_cache.get(entry)
    known = getattr(finder, "path", "")  # FileFinder has it
    if os.path.isabs(known):
        return known
    return os.path.abspath(entry) if os.path.exists(entry) else entry  # not every entry is a path


def _reloads_by_itself() -> bool:
    """Whether %autoreload is on."""
    ip = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    magics = None if ip is None else ip.magics_manager.registry.get("AutoreloadMagics")
    return getattr(getattr(magics, "_reloader", None), "enabled", False)


# ------------------------------------------------------------------ on a rank
_last = Surroundings(None, [])


def take_over(now: Surroundings) -> None:
    """Apply on a rank what the notebook has changed since the last call."""
    global _last
    if now.folder is not None and now.folder != _last.folder:
        os.chdir(now.folder)
    if now.path != _last.path:
        _follow(_last.path, now.path)
    _last = now


def begin(now: Surroundings) -> None:
    """Set up a new rank with the notebook's folder and path."""
    global _last
    sys.path[:] = now.path
    _last = Surroundings(None, now.path)
    take_over(now)


def _follow(before: list[str], now: list[str]) -> None:
    """Apply the difference between the two paths to this rank's path, new entries after the same neighbour."""
    changes = difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes()
    for _, start, end, _, _ in (each for each in changes if each[0] != "equal"):
        for entry in before[start:end]:
            if entry in sys.path:
                sys.path.remove(entry)
    for _, _, _, start, end in (each for each in changes if each[0] != "equal"):
        for at in range(start, end):
            previous = now[at - 1] if at else None
            place = sys.path.index(previous) + 1 if previous in sys.path else 0 if at == 0 else len(sys.path)
            sys.path.insert(place, now[at])
