"""A program, run with an environment that records it: started, interrupted and ended as if it ran by itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from lab_utils.record import hook
from lab_utils.record.left import COUNT, FOLDER

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 5.0  # for processes that are about to end by themselves
_ENDING_S = 10.0  # for those that were asked to: a rank then writes what it recorded


def environment(environ: Mapping[str, str], folder: Path, count: bool) -> dict[str, str]:
    """The program's environment: each Python process in it runs the hook first, and leaves its part in the folder."""
    path = [str(Path(hook.__file__).parent), *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(path), FOLDER: str(folder), COUNT: str(int(count))}


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run it to its end; its exit status as a shell tells it: 128 + n when signal n ended it. OSError: no such command.

    The program is a session of its own, so that an interrupt from the keyboard reaches it once: from here.
    """
    process = subprocess.Popen([_found(command[0]), *command[1:]], env=environ, start_new_session=True)
    with _passing_on(process):
        status = process.wait()
    return status if status >= 0 else 128 - status


def _found(name: str) -> str:
    """What is not on PATH may stand beside this Python: torchrun does, in an environment that is not activated."""
    beside = Path(sys.executable).parent / name
    return str(beside) if shutil.which(name) is None and beside.is_file() else name


@contextmanager
def _passing_on(process: subprocess.Popen) -> Iterator[None]:
    def pass_on(signum: int, _: object) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signum)

    before = {signum: signal.signal(signum, pass_on) for signum in _PASSED_ON}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def end_the_rest(folder: Path) -> list[int]:
    """End processes of the program that outlive it, wherever they stand; returns those that had to be ended."""
    _, alive = psutil.wait_procs(_processes(folder), timeout=_GRACE_S)
    ended = [process.pid for process in alive]
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            _ask(process, ask)
        _, alive = psutil.wait_procs(alive, timeout=_ENDING_S)
    return ended


def _processes(folder: Path) -> list[psutil.Process]:
    """Those that carry our folder in their environment: a rank may be in a session of its own, without a parent."""
    every = psutil.process_iter(["environ", "status"])
    return [
        process for process in every
        if (process.info["environ"] or {}).get(FOLDER) == str(folder) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]  # fmt: skip


def _ask(process: psutil.Process, ask) -> bool:
    try:
        ask(process)
    except psutil.NoSuchProcess:  # it ended by itself in the meantime
        return False
    return True
