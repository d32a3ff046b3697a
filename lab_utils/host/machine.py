"""What the lab needs of this machine beside memory: each check returns a sentence with the mend, or "" if all is well.

Standard library only: they are asked before anything is started, and where nothing is installed.
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

LOOPBACK = "127.0.0.1"
_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107  # the longest address of a unix socket
_ANSWER_S = 5.0
# Measured with 1 to 8 ranks and three groups: at most 91 in the controller, 74 + 4 for each rank and group in a rank.
_FILES, _FILES_A_RANK = 88, 8
_OWN_FOLDERS = Path("/proc/self/fd")
# What to do about a limit that few people have heard of.
_MENDS = {
    errno.EMFILE: "allow more open files: `ulimit -n 1024` in the shell that starts Python",
    errno.ENFILE: "the whole machine is out of open files: end other programs",
    errno.EAGAIN: "allow more processes (`ulimit -u`, a container's pids limit), or end other programs",
    errno.ENOSPC: "make room, or set TMPDIR to a folder on another disk",
    errno.EDQUOT: "make room, or set TMPDIR to a folder on another disk",
}


def trouble() -> str:
    """The first thing that neither ranks nor JupyterLab can do without."""
    return proc_trouble() or temporary_folder_trouble() or loopback_trouble()


def proc_trouble() -> str:
    """Why processes cannot be looked after: Linux shows them in /proc only."""
    if sys.platform != "linux" or _OWN_FOLDERS.exists():
        return ""
    return "there is no /proc, where Linux shows processes and memory: mount it, `mount -t proc proc /proc`"


def files_trouble(ranks: int) -> str:
    """Why so many ranks would run out of open files, of which each process has its own."""
    import resource

    may, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _FILES + ranks * _FILES_A_RANK
    if may == resource.RLIM_INFINITY or need <= may:
        return ""
    many = "1 rank needs" if ranks == 1 else f"{ranks} ranks need"
    return f"{many} {need} open files in a process and {may} are allowed: run `ulimit -n 1024` before Python starts"


def free_port() -> int:
    """A port of loopback's that nobody listens on now."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return server.getsockname()[1]


def loopback_trouble() -> str:
    """Why no server can listen on loopback: the ranks and Jupyter's kernels talk there and nowhere else."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:  # to bind alone also works where the interface is down
            socket.create_connection(server.getsockname(), timeout=_ANSWER_S).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "no answer"
        return (
            f"nothing can be reached on {LOOPBACK} ({why}), where ranks and notebooks talk: give the loopback "
            f"interface its address, on Linux with `ip link set lo up; ip address add {LOOPBACK}/8 dev lo`"
        )
    return ""


def temporary_folder_trouble() -> str:
    """Why temporary files cannot be kept, or not under a name that every library understands."""
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
    """Why files cannot be kept in this folder, which is made when it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def system_error(error: OSError) -> str:
    """What the system refused, and the mend where one is known: "Too many open files: allow more ..."."""
    about = f" ({error.filename})" if error.filename else ""
    mend = f": {_MENDS[error.errno]}" if error.errno in _MENDS else ""
    return f"{error.strerror or error}{about}{mend}"


@contextlib.contextmanager
def socket_address(path: str) -> Iterator[str]:
    """The address of a unix socket at this path: where the path is too long for one, through its opened folder."""
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        yield path
        return
    folder, name = os.path.split(path)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_OWN_FOLDERS}/{opened}/{name}"
    finally:
        os.close(opened)
