"""Checks of what the lab needs of this machine besides memory. A check returns a sentence with the fix, or "".

Standard library only: they run before anything is started, and where nothing is installed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab_utils.text import counted, verb

LOOPBACK = "127.0.0.1"
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107  # the longest address of a unix socket
_ANSWER_S = 5.0
# Measured with 1 to 8 ranks and three groups: at most 91 in the controller, 74 + 4 per rank and group in a rank.
_FILES, _FILES_A_RANK = 88, 8
_OWN_FOLDERS = Path("/proc/self/fd")
# Fixes for limits that few people know.
_MENDS = {
    errno.EMFILE: "allow more open files: `ulimit -n 1024` in the shell that starts Python",
    errno.ENFILE: "the whole machine is out of open files: end other programs",
    errno.EAGAIN: "allow more processes (`ulimit -u`, a container's pids limit), or end other programs",
    errno.ENOSPC: "make room, or set TMPDIR to a folder on another disk",
    errno.EDQUOT: "make room, or set TMPDIR to a folder on another disk",
}


def trouble() -> str:
    """Return the first problem that keeps both ranks and JupyterLab from starting."""
    return proc_trouble() or temporary_folder_trouble() or loopback_trouble()


def proc_trouble() -> str:
    """Return why processes cannot be watched: on Linux they are listed only in /proc."""
    if sys.platform != "linux" or _OWN_FOLDERS.exists():
        return ""
    return "there is no /proc, where Linux shows processes and memory: mount it, `mount -t proc proc /proc`"


def files_trouble(ranks: int) -> str:
    """Return why `ranks` ranks would exceed the limit on open files of one process."""
    import resource

    may, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _FILES + ranks * _FILES_A_RANK
    if may == resource.RLIM_INFINITY or need <= may:
        return ""
    many = f"{counted(ranks, 'rank')} {verb(ranks, 'need')}"
    return f"{many} {need} open files in a process and {may} are allowed: run `ulimit -n 1024` before Python starts"


def free_port() -> int:
    """Return a port that is free on loopback now."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return server.getsockname()[1]


def loopback_trouble() -> str:
    """Return why no server can listen on loopback, the only interface that ranks and Jupyter's kernels use."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:  # binding alone would succeed on an interface that is down
            socket.create_connection(server.getsockname(), timeout=_ANSWER_S).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "no answer"
        return (
            f"nothing can be reached on {LOOPBACK} ({why}), where ranks and notebooks talk: give the loopback "
            f"interface its address, on Linux with `ip link set lo up; ip address add {LOOPBACK}/8 dev lo`"
        )
    return ""


def temporary_folder_trouble() -> str:
    """Return why temporary files cannot be written, or not under a name that every library can open."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        return f"no temporary file can be written ({error.strerror}): set TMPDIR to a folder that you can write"
    encoding = sys.getfilesystemencoding()
    if os.fsencode(folder) != folder.encode(errors="replace"):
        shown = folder.encode("ascii", "backslashreplace").decode()
        return (
            f"TMPDIR is {shown}, which C++ libraries cannot open while this terminal's encoding is {encoding}: "
            "set LC_ALL=C.UTF-8, or TMPDIR to a folder of plain letters"
        )
    return ""


def cannot_keep(folder: Path) -> str:
    """Return why files cannot be written in this folder, which is created if missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def system_error(error: OSError) -> str:
    """Return the system's error, and the fix where one is known: "Too many open files: allow more ..."."""
    about = f" ({error.filename})" if error.filename else ""
    mend = f": {_MENDS[error.errno]}" if error.errno in _MENDS else ""
    return f"{error.strerror or error}{about}{mend}"


@contextlib.contextmanager
def socket_address(path: str) -> Iterator[str]:
    """Yield an address for the unix socket at this path; one that is too long goes through its opened folder."""
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        yield path
        return
    folder, name = os.path.split(path)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_OWN_FOLDERS}/{opened}/{name}"
    finally:
        os.close(opened)


def cores() -> int:
    """Return the number of cores that this process may use; all of them where the system does not tell which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_per_rank(ranks: int) -> int:
    """Return with how many threads each rank computes: the cores that this process may use, shared out; at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // ranks) if hasattr(os, "sched_getaffinity") else 1
