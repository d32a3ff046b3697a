"""Calms gloo's threads about sockets that were cut.

gloo does not always let go of a connection that has ended (of a message that was half over the wire, see waiting.py).
Its thread then asks epoll for events, is told that the other end hung up, does nothing about it and asks again: a
core is busy until the group's time-out. Here epoll is told to tell it once.
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
    """Let every epoll of this process tell of these sockets' ends once, and not for ever; returns how many it were."""
    wanted, count = set(sockets), 0
    epoll_ctl = ctypes.CDLL(None).epoll_ctl
    for epoll in _epolls():
        for watched, data in _watched(epoll):
            if watched in wanted:
                event = _Event(_IN | _EDGE_TRIGGERED, data)
                count += epoll_ctl(epoll, _EPOLL_CTL_MOD, watched, ctypes.byref(event)) == 0  # else gone by now
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
    """Descriptor and data of all that it watches."""
    try:
        with open(f"{_ABOUT}/{epoll}", encoding="ascii") as file:
            return [(int(descriptor), int(data, 16)) for descriptor, data in _WATCHED.findall(file.read())]
    except OSError:
        return []
