"""Stops gloo's threads from spinning on sockets that were shut down.

gloo does not always release a connection that has ended (interruptible_wait.py: a message that was partly sent).
Its thread then polls epoll, gets the hang-up event, ignores it and polls again: one core is busy until the group's
timeout. Here the sockets are made edge-triggered, so that epoll reports the event once.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Iterable

_FOLDER, _ABOUT = "/proc/self/fd", "/proc/self/fdinfo"
_EPOLL_CTL_MOD, _IN, _EDGE_TRIGGERED = 3, 1, 1 << 31
_WATCHED = re.compile(r"tfd:\s+(\d+)\s+events:\s+\w+\s+data:\s+(\w+)")


class _Event(ctypes.Structure):
    """`struct epoll_event`, which is packed on x86-64 only; Python's own `epoll.modify` would overwrite its data."""

    _pack_ = 1 if platform.machine() == "x86_64" else 8
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def calm(sockets: Iterable[int]) -> int:
    """Make every epoll of this process report the end of these sockets only once; return how many were changed."""
    wanted, count = set(sockets), 0
    epoll_ctl = ctypes.CDLL(None).epoll_ctl
    for epoll in _epolls():
        for watched, data in _watched(epoll):
            if watched in wanted:
                event = _Event(_IN | _EDGE_TRIGGERED, data)
                count += epoll_ctl(epoll, _EPOLL_CTL_MOD, watched, ctypes.byref(event)) == 0  # fails once closed
    return count


def _epolls() -> list[int]:
    found = []
    for name in os.listdir(_FOLDER):
        try:
            if "eventpoll" in os.readlink(f"{_FOLDER}/{name}"):
                found.append(int(name))
        except OSError:  # closed since it was listed
            continue
    return found


def _watched(epoll: int) -> list[tuple[int, int]]:
    """Return the descriptor and data of every file that this epoll watches."""
    try:
        with open(f"{_ABOUT}/{epoll}", encoding="ascii") as file:
            return [(int(descriptor), int(data, 16)) for descriptor, data in _WATCHED.findall(file.read())]
    except OSError:
        return []
