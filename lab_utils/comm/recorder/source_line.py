"""The user's line that an op comes from: "train.py:41", "In [5]:3"."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from types import FrameType

import torch

_LAB = str(Path(__file__).parents[2])
_PLUMBING = tuple(f"{_LAB}/{room}/" for room in ("comm", "ranks", "widgets"))
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(torch.__file__).parent), "<frozen")
_INSTALLED = ("/site-packages/", "/dist-packages/")  # of any environment: the user's, or a base of this one
_names: dict[str, str] = {}


def caller() -> str:
    """Return the nearest line that belongs to the user or to a strategy of the lab, not to a library.

    On a library's own thread (autograd has one per GPU) it is the line that the main thread is at: the call of
    backward. Empty when there is none.
    """
    return _nearest(sys._getframe(1)) or main_line()


def main_line() -> str:
    """Return the user's line that the main thread is at; may be called from any thread."""
    return _nearest(sys._current_frames().get(threading.main_thread().ident))


def main_thread_is_inside(files: Collection[str]) -> bool:
    """Return whether a function of these files is the main thread's innermost one of Python, so that it runs C++."""
    frame = sys._current_frames().get(threading.main_thread().ident)
    return frame is not None and frame.f_code.co_filename in files


def _nearest(frame: FrameType | None) -> str:
    while frame is not None:
        if name := _own_name(frame.f_code.co_filename):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def name_files(names: dict[str, str]) -> None:
    """Register display names for files, as the notebook does for its cells: {path: "In [5]"}."""
    _names.update(names)
    _own_name.cache_clear()


def cell_name(filename: str) -> str:
    """Return the notebook's name of the cell that this file stands for; the file itself if it is no cell."""
    return _names.get(filename, filename)


def is_own(filename: str) -> bool:
    """Return whether the file is the user's or a strategy's: not Python's, an installed package's, or lab plumbing."""
    return bool(_own_name(filename))


@lru_cache(maxsize=4096)
def _own_name(filename: str) -> str:
    """Return the last part of the path; empty for files that are not the user's own."""
    if filename in _names:
        return _names[filename]
    in_lab = filename.startswith(_LAB) and not filename.startswith(_PLUMBING)
    if not in_lab and (filename.startswith((*_PLUMBING, *_LIBRARIES)) or any(map(filename.__contains__, _INSTALLED))):
        return ""
    return filename.rpartition("/")[2]
