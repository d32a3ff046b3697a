"""Outlives the notebook's kernel by a moment: when the kernel is gone, in any way, it ends what the kernel started.

Run as a file, apart from the package, with the kernel's process id. Its stdin is a pipe from the kernel with lines
"pid N" and "folder PATH". It begins at the end of that pipe, or at the kernel's own end: what the kernel forked may
hold the pipe open for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator

import psutil

GRACE_S = 6.0  # a second more than the fork server's for the ranks, which it ends
KILLED_S = 5.0  # a killed process is gone when the system has given back its memory
_ASK_EVERY_S = 0.01
_ASK_KERNEL_EVERY_S = 1.0  # no event of its end is there on every system, but for that of the pipe


def end(started: list[psutil.Process]) -> None:
    """SIGTERM to the processes and all below them; SIGKILL for what is left after the grace.

    psutil tells a process from a later one with the same number, so no stranger is hit.
    """
    processes = []
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes += [process, *process.children(recursive=True)]
    processes += orphans(started)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    left = still_running(processes, GRACE_S)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    still_running(left, KILLED_S)  # their files are removed next


def orphans(started: list[psutil.Process]) -> list[psutil.Process]:
    """What those that have ended left behind in their sessions, where they led one.

    A session's number is not given to another process before the last of its members has ended.
    """
    ended = {process.pid for process in started if not process.is_running() or _ended(process)}
    return [process for process in psutil.process_iter() if process.pid not in ended and _session(process) in ended]


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def still_running(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that have not ended after so long.

    A process that ended counts even while its parent has not asked about it (a zombie). psutil's own wait goes on
    until the parent has; but the parent may be the notebook's kernel, which waits for us. Asking again and again is
    the one way that every system has, for processes that are not our children.
    """
    ends_at_s = time.monotonic() + timeout_s
    while (processes := [p for p in processes if not _ended(p)]) and time.monotonic() < ends_at_s:
        time.sleep(_ASK_EVERY_S)
    return processes


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def orders(kernel: int) -> Iterator[str]:
    """The lines on stdin, until it closes or the process that started this one, `kernel`, has ended.

    It is told which that was: it may have ended before this one could ask.
    """
    pipe, rest = 0, b""
    while True:
        if select.select([pipe], [], [], _ASK_KERNEL_EVERY_S)[0]:
            if not (read := os.read(pipe, 1 << 16)):
                return
            *lines, rest = (rest + read).split(b"\n")
            yield from map(os.fsdecode, lines)
        elif os.getppid() != kernel:
            return


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends with its work, not with the terminal's session
    started, folders = [], []
    for line in orders(int(sys.argv[1])):
        kind, _, value = line.partition(" ")
        if kind == "folder":
            folders.append(value)
        else:
            with contextlib.suppress(psutil.NoSuchProcess):
                started.append(psutil.Process(int(value)))
    end(started)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
