"""Outlives the notebook's kernel by a moment: when the kernel is gone, in any way, it ends what the kernel started.

Run as a file, apart from the package. Its stdin is a pipe from the kernel with lines "pid N" and "folder PATH";
the end of that pipe means that the kernel ended.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys

import psutil

GRACE_S = 1.0


def end(started: list[psutil.Process]) -> None:
    """SIGTERM to the processes and all below them; SIGKILL for what is left after the grace.

    psutil tells a process from a later one with the same number, so no stranger is hit.
    """
    processes = []
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes += [process, *process.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends with its work, not with the terminal's session
    started, folders = [], []
    for line in sys.stdin:
        kind, _, value = line.strip().partition(" ")
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
