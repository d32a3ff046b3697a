"""The command line: which program, and where its trace goes."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from lab_utils.host.command_line import say
from lab_utils.record import files, hook, sentences
from lab_utils.record.files import COUNT, FOLDER, World, worlds

# Signals passed on to the program, as if it ran by itself.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 5.0  # for processes that end by themselves
_ENDING_S = 10.0  # after a signal: a rank then writes what it recorded


def environment(environ: Mapping[str, str], folder: Path, count: bool) -> dict[str, str]:
    """Return the program's environment: its Python processes run the hook first, and write their part to `folder`."""
    path = [str(Path(hook.__file__).parent), *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(path), FOLDER: str(folder), COUNT: str(int(count))}


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the program; return its exit status as a shell does: 128 + n when signal n ended it. OSError: not started.

    It runs in its own session, so that Ctrl-C reaches it only once, from here.
    """
    process = subprocess.Popen([_found(command[0]), *command[1:]], env=environ, start_new_session=True)
    with _passing_on(process):
        status = process.wait()
    return status if status >= 0 else 128 - status


def _found(name: str) -> str:
    """Return the command, from this Python's folder if not on PATH: torchrun, in an environment not activated."""
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
    """End processes of the program that outlive it, in any session; return the pids of those that had to be ended."""
    _, alive = psutil.wait_procs(_processes(folder), timeout=_GRACE_S)
    ended = [process.pid for process in alive]
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            _ask(process, ask)
        _, alive = psutil.wait_procs(alive, timeout=_ENDING_S)
    return ended


def _processes(folder: Path) -> list[psutil.Process]:
    """Return processes with our folder in their environment: a rank may be in its own session, without a parent."""
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


NOTHING_RECORDED, NOT_EXECUTABLE, NOT_FOUND = 1, 126, 127


def main(argv: Sequence[str] = ()) -> int:
    """Return the program's exit status. Else 1: it formed no group; 2: bad usage; 126 and 127: it cannot be started."""
    parser = _parser()
    options, program = _split(argv)
    given = parser.parse_args(options)
    if not program:
        parser.error(sentences.NO_PROGRAM)
    if wrong := _cannot_write(given.out):
        parser.error(wrong)
    with tempfile.TemporaryDirectory(prefix="lab_record_") as folder:
        return _record(program, Path(folder), given.out, given.count)


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split into our options and the program with its own, at "--"."""
    words = list(argv)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab_utils record",
        usage="%(prog)s [--out FILE] [--no-count] -- PROGRAM [ARGUMENTS]",
        description="Record any torch.distributed program of this machine, such as torchrun --nproc-per-node 4 "
        "train.py, from the forming of its default group until that is destroyed or the program ends; "
        "lab_utils.timeline.Trace.load opens the file.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("trace.json"), metavar="FILE", help="(trace.json; replaced if it is there)"
    )
    parser.add_argument(
        "--count", action=argparse.BooleanOptionalAction, default=True,
        help="count the FLOPs and bytes of kernels, from which other hardware is predicted; not of code that "
        "torch.compile made, so such a program is recorded with --no-count",
    )  # fmt: skip
    return parser


def _cannot_write(out: Path) -> str:
    """Return why the file cannot be written, checked before minutes of training; "" if it can."""
    if out.is_dir():
        return f"{out} is a folder: name a file"
    if not out.parent.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        return f"{out} cannot be written: its folder is missing, or not open to you"
    return ""


def _record(program: Sequence[str], folder: Path, out: Path, count: bool) -> int:
    try:
        status = run(program, environment(os.environ, folder, count))
    except OSError as error:
        say(sentences.not_started(program[0], error.strerror))
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    finally:
        if ended := end_the_rest(folder):
            say(sentences.outlived(ended))
    for trouble in files.troubles(folder):
        say(sentences.not_recorded(trouble))
    written = _write(worlds(files.read(folder)), out)
    say(sentences.ended(program, status))
    return status or (0 if written else NOTHING_RECORDED)


def _write(found: Sequence[World], out: Path) -> int:
    """Write one file per world that recorded something; return how many."""
    if not found:
        say(sentences.NOTHING)
    for sentence in (sentence for world in found for sentence in sentences.missing(world)):
        say(sentence)
    full = [world for world in found if not world.is_empty]
    for number, world in enumerate(full, start=1):
        path = out if number == 1 else out.with_stem(f"{out.stem}-{number}")
        trace = world.trace
        trace.save(path)
        say(sentences.written(trace, path))
    return len(full)
