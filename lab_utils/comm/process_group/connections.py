"""The sockets that a backend opened for a group, so that exactly those can be shut down.

gloo waits in C++, where no exception can reach it. Shutting its sockets down ends the wait at once, on this rank
and on its neighbours; the user's own sockets are never touched.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab_utils.comm.process_group import spinning

# Groups without their backends, kept until a wait in the first one, which C++ knows a group by, has timed out too.
_AFTER_TIMEOUT_S = 5.0
_kept: list[tuple[float, Any]] = []


def close(backends: list[Any], group: Any, timeout_s: float) -> None:
    """Clear this list, which holds the last references to backends of the group, without waiting for their threads.

    Destroying a backend joins its threads, and one of those may be in a wait that only the group's timeout ends. So it
    is done on a thread; torch destroys backends without the GIL. Those without such a wait give back their four
    descriptors at once: a process that may open 256 would have none left after some fifty failures.
    """
    now_s = time.monotonic()
    _kept[:] = [(until_s, kept) for until_s, kept in _kept if until_s > now_s]
    _kept.append((now_s + timeout_s + _AFTER_TIMEOUT_S, group))
    threading.Thread(target=backends.clear, name="close backends", daemon=True).start()


_PROC = "/proc/self/fd"
_lock = threading.Lock()  # the guard's thread may shut down while the main thread connects
_looking = False  # groups are connected on one thread, the main one
_ours: dict[int, int] = {}  # descriptor -> inode: a reused descriptor is another socket
_ended: dict[int, int] = {}  # sockets that were shut down, which gloo may not have released
_NOTICE_S = 0.5  # for gloo to notice by itself that a connection ended


def _open_sockets() -> dict[int, int]:
    found = {}
    for name in os.listdir(_PROC) if os.path.isdir(_PROC) else ():
        try:
            status = os.fstat(int(name))
        except OSError:  # closed since it was listed, like the descriptor of the listing itself
            continue
        if stat.S_ISSOCK(status.st_mode):
            found[int(name)] = status.st_ino
    return found


@contextmanager
def remembered() -> Iterator[None]:
    """Record the sockets opened inside as belonging to groups. Without /proc none are recorded, and none are shut down.

    Does nothing when nested: scanning all sockets once per group would take time quadratic in their number.
    """
    global _looking
    if _looking:
        yield
        return
    before, _looking = _open_sockets(), True
    try:
        yield
    finally:
        _looking = False
        after = _open_sockets()
        with _lock:
            _ours.update({fd: inode for fd, inode in after.items() if before.get(fd) != inode})


def shut_down() -> int:
    """Shut down every recorded socket that is still open; return how many."""
    with _lock:
        now = _open_sockets()
        ended = {fd: inode for fd, inode in _ours.items() if now.get(fd) == inode and _shut(fd)}
        _ended.update(ended)
        _ours.clear()
    return len(ended)


def calm_later() -> None:
    """After a moment, stop gloo's threads from spinning on the sockets that were shut down."""
    if _ended:
        later = threading.Timer(_NOTICE_S, _calm)
        later.daemon = True
        later.start()


def _calm() -> None:
    with _lock:
        now = _open_sockets()
        spinning.calm(fd for fd, inode in _ended.items() if now.get(fd) == inode)
        _ended.clear()


def _shut(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            connection.getpeername()  # a listening socket has no peer; shut down, it would abort the process
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # no peer, or closed by the backend in the meantime
        return False
    return True
