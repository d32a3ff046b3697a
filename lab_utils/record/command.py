"""The command line: which program, and where its trace goes."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab_utils.record import left
from lab_utils.record.merge import World, worlds
from lab_utils.record.running import end_the_rest, environment, run
from lab_utils.timeline.units import bytes_text

NOTHING_RECORDED, NOT_EXECUTABLE, NOT_FOUND = 1, 126, 127


def main(argv: Sequence[str] = ()) -> int:
    """The program's own exit status. Else 1: it formed no group; 2: bad usage; 126 and 127: it cannot be started."""
    parser = _parser()
    options, program = _split(argv)
    given = parser.parse_args(options)
    if not program:
        parser.error("no program is given: write it after --, as in record -- torchrun --nproc-per-node 4 train.py")
    if wrong := _cannot_write(given.out):
        parser.error(wrong)
    with tempfile.TemporaryDirectory(prefix="lab_record_") as folder:
        return _record(program, Path(folder), given.out, given.count)


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our options, and the program with its own."""
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
    """Asked before minutes of training, not after."""
    if out.is_dir():
        return f"{out} is a folder: name a file"
    if not out.parent.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        return f"{out} cannot be written: its folder is missing, or not open to you"
    return ""


def _record(program: Sequence[str], folder: Path, out: Path, count: bool) -> int:
    try:
        status = run(program, environment(os.environ, folder, count))
    except OSError as error:
        _say(f"{program[0]} cannot be started: {error.strerror}.")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    finally:
        if ended := end_the_rest(folder):
            _say(f"Processes that outlived the program were ended: {', '.join(map(str, ended))}.")
    for trouble in left.troubles(folder):
        _say(f"A process could not be recorded: {trouble}.")
    written = _write(worlds(left.read(folder)), out)
    _say(f"{shlex.join(program)} ended with status {status}.")
    return status or (0 if written else NOTHING_RECORDED)


def _write(found: Sequence[World], out: Path) -> int:
    """A file for each world that left something; returns how many."""
    if not found:
        _say("Nothing is recorded: no process of the program formed a torch.distributed group that can be recorded.")
    for complaint in (complaint for world in found for complaint in world.complaints()):
        _say(complaint)
    full = [world for world in found if not world.is_empty]
    for number, world in enumerate(full, start=1):
        path = out if number == 1 else out.with_stem(f"{out.stem}-{number}")
        trace = world.trace
        trace.save(path)
        _say(f'{trace}\nwritten to {path} ({bytes_text(path.stat().st_size)}): Trace.load("{path}") opens it.')
    return len(full)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
