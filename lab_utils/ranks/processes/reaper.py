"""Ends what the notebook's kernel started, after the kernel has ended in whatever way.

Run as a file, without the package, with the kernel's process id. Its stdin is a pipe from the kernel with lines
"pid N" and "folder PATH". It acts when that pipe closes or the kernel ends: a process that the kernel forked may
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

GRACE_S = 6.0  # one second more than the fork server gives the ranks
KILLED_S = 5.0  # a killed process ends when the system has freed its memory
_ASK_EVERY_S = 0.01
_ASK_KERNEL_EVERY_S = 1.0  # polled: besides the pipe, no event for its end exists on every system


def end(started: list[psutil.Process]) -> None:
    """Send SIGTERM to the processes and all their descendants, and SIGKILL to those left after the grace.

    psutil tells a process from a later one with the same pid, so no other process is hit.
    """
    processes = []
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes += [process, *process.children(recursive=True)]
    processes += orphans(started)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            process.resume()  # one that is stopped would not hear of it
    left = still_running(processes, GRACE_S)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    still_running(left, KILLED_S)  # their files are removed next


def orphans(started: list[psutil.Process]) -> list[psutil.Process]:
    """Return processes left in the sessions of session leaders that have ended.

    The system does not reuse a session's id before its last member has ended.
    """
    ended = {process.pid for process in started if not process.is_running() or _ended(process)}
    return [process for process in psutil.process_iter() if process.pid not in ended and _session(process) in ended]


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def still_running(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Return the processes that have not ended after `timeout_s`.

    A zombie, which its parent has not waited for, counts as ended. psutil's own wait would go on until the parent has
    waited; but the parent may be the notebook's kernel, which waits for us. For processes that are not our children,
    polling is the one way that every system has.
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
    """Yield the lines on stdin, until it closes or its parent, the process `kernel`, has ended.

    The pid is passed in, since the parent may have ended before this process could ask for it.
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends when its work is done, not with the terminal's session
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
