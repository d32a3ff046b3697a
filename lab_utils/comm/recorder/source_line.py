"""Which line of the user's an op comes from: "train.py:41", "In [5]:3"."""

from __future__ import annotations

import sys
import sysconfig
import threading
from functools import lru_cache
from pathlib import Path
from types import FrameType

import torch

_LAB = str(Path(__file__).parents[2])
_PLUMBING = tuple(f"{_LAB}/{room}/" for room in ("comm", "ranks", "widgets"))
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(torch.__file__).parent), "<frozen")
_INSTALLED = ("/site-packages/", "/dist-packages/")  # of any environment: the user's own, one that this one builds on
_names: dict[str, str] = {}


def caller() -> str:
    """The nearest line that belongs to the user or to a strategy of the lab, not to a library.

    On a thread of a library's own (autograd has one for each GPU) it is the line that the main thread is in: the
    call of backward. Empty when there is none.
    """
    return _nearest(sys._getframe(1)) or main_line()


def main_line() -> str:
    """The user's line that the main thread is in, seen from any thread."""
    return _nearest(sys._current_frames().get(threading.main_thread().ident))


def _nearest(frame: FrameType | None) -> str:
    while frame is not None:
        if name := _own_name(frame.f_code.co_filename):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def name_files(names: dict[str, str]) -> None:
    """Call these files by other names, as the notebook does with its cells: {path: "In [5]"}."""
    _names.update(names)
    _own_name.cache_clear()


def cell_name(filename: str) -> str:
    """Return what the notebook calls the cell that this file stands for; the file itself where it is none."""
    return _names.get(filename, filename)


def is_own(filename: str) -> bool:
    """Whether the file is the user's or a strategy's: not Python's, an installed package's, or the lab's plumbing."""
    return bool(_own_name(filename))


@lru_cache(maxsize=4096)
def _own_name(filename: str) -> str:
    """Last part of the path; empty for files that are not the user's own."""
    if filename in _names:
        return _names[filename]
    in_lab = filename.startswith(_LAB) and not filename.startswith(_PLUMBING)
    if not in_lab and (filename.startswith((*_PLUMBING, *_LIBRARIES)) or any(map(filename.__contains__, _INSTALLED))):
        return ""
    return filename.rpartition("/")[2]
