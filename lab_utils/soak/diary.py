"""Records what a training script prints, saves and draws, and compares it with what the notebook shows and keeps."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab_utils.soak.faults import Fault

_LINE = re.compile(r"rank \d+, [^;\n]*;")  # a line printed by the script; no other output looks like it
_IN_LOOP, _SAVED, _DREW, _SAYS, _SAID = "in loop", "saved", "drew", "says", "said"


def checkpoint_file(folder: Path | str, rank: int) -> Path:
    return Path(folder, f"checkpoint-{rank}.pt")


def _diary_file(folder: Path | str, rank: int) -> Path:
    return Path(folder, f"diary-{rank}")


# ---------------------------------------------------------------------- on the rank
class Diary:
    """Notes of one rank, written to their file at once, so that they survive the rank's death."""

    def __init__(self, folder: str, rank: int):
        self.checkpoint = checkpoint_file(folder, rank)
        self._file = os.open(_diary_file(folder, rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def in_loop(self) -> None:
        self._note(_IN_LOOP)

    def saved(self) -> None:
        self._note(_SAVED)

    def drew(self, number: int) -> None:
        self._note(_DREW, str(number))

    @contextmanager
    def saying(self, stream: str, line: str) -> Iterator[str]:
        """Record that the line is printed on "stdout" or "stderr" inside the block."""
        self._note(_SAYS, stream, line)
        yield line
        self._note(_SAID, stream, line)

    def __enter__(self) -> Diary:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _note(self, *words: str) -> None:
        os.write(self._file, ("\t".join(words) + "\n").encode())


# ---------------------------------------------------------------------- in the notebook
class Reader:
    """Reads the diaries of successive calls. Random numbers that were drawn must never repeat."""

    def __init__(self) -> None:
        self._drawn: set[str] = set()

    def complaints(self, folder: str, ranks: int, fault: Fault, shown: dict[str, str]) -> list[str]:
        """Return what was lost, shown twice, half saved or left behind; `shown` is {stream: the notebook's output}."""
        notes = {rank: _read(folder, rank) for rank in range(ranks)}
        known = {line for each in notes.values() for word, *rest in each if word == _SAYS for line in rest[1:]}
        found = [
            f"{stream} shows {line!r}, which no rank said"
            for stream, text in shown.items() for line in _LINE.findall(text) if line not in known
        ]  # fmt: skip
        for rank, each in notes.items():
            found += [f"rank {rank} {complaint}" for complaint in self._of_rank(folder, rank, each, fault, shown)]
        mine = {path.name for rank in notes for path in (_diary_file(folder, rank), checkpoint_file(folder, rank))}
        return found + [f"{name} was left" for name in sorted({*os.listdir(folder)} - mine)]

    def _of_rank(
        self, folder: str, rank: int, notes: list[list[str]], fault: Fault, shown: dict[str, str]
    ) -> Iterator[str]:  # fmt: skip
        for stream, text in shown.items():
            of_stream = [(word, rest[1]) for word, *rest in notes if rest[:1] == [stream]]
            said = [line for word, line in of_stream if word == _SAID]
            times = {line: text.count(line) for word, line in of_stream if word == _SAYS}
            yield from (f"said {line!r}, and it is not shown" for line in said if times[line] == 0)
            yield from (f"said {line!r}, and it is shown {n} times" for line, n in times.items() if n > 1)
            if (order := [line for line in _LINE.findall(text) if line in times]) != [n for n in times if times[n]]:
                yield f"said {list(times)} on {stream}, and it is shown as {order}"
        for number in [rest[0] for word, *rest in notes if word == _DREW]:
            if number in self._drawn:
                yield f"drew {number}, as another rank did, or another call"
            self._drawn.add(number)
        yield from _complaints_of_saving(checkpoint_file(folder, rank), [word for word, *_ in notes], fault)


def _complaints_of_saving(checkpoint: Path, words: list[str], fault: Fault) -> Iterator[str]:
    """Yield complaints unless a checkpoint is complete or absent, and saved if an interrupt hit a rank in its loop."""
    times = words.count(_SAVED)
    if times > 1 or (fault.kind == "interrupt" and _IN_LOOP in words and times == 0):
        yield f"saved {times} times"
    if times and not checkpoint.exists():
        yield "saved, and there is no file"
    if checkpoint.exists() and not _is_whole(checkpoint):
        yield "saved half a file"


def _read(folder: str, rank: int) -> list[list[str]]:
    """Return a rank's notes, [] when it wrote none."""
    path = _diary_file(folder, rank)
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _is_whole(checkpoint: Path) -> bool:
    """Whether the file is complete: torch's files are zip files, with a checksum per tensor."""
    try:
        with zipfile.ZipFile(checkpoint) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False
