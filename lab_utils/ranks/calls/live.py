"""What ranks say during a long call, line by line as it comes; the call's end shows all of it in rank order instead."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from lab_utils.ranks.calls.said import Said
from lab_utils.text import as_on_a_terminal, counted, name_ranks

LIVE_AFTER_S = 2.0  # a call that runs longer shows its output so far
EVERY_S = 0.3
_LINES, _BYTES = 40, 1 << 16  # last lines of all ranks, and last bytes of each, that are shown
_UP = b"\x1b[A"  # a bar above others is drawn again: lines above the last one may still change
_SETTLED = 8  # lines without such a move, after which those above have settled
_MARK = " │ "


class Stream:
    """The lines of all ranks in the order in which they came, and those that ranks have begun."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}  # lines of each rank so far
        self._lines: deque[tuple[tuple[int, ...], str]] = deque()
        self._dropped, self._cleared = 0, 0  # lines that came before those; times that a rank cleared its own
        self._open: dict[int, tuple[str, ...]] = {}
        self._read: dict[int, list[int]] = {}  # bytes of stdout and stderr, and displays, that were taken

    def take(self, said: Mapping[int, Said]) -> bool:
        """Append what ranks have said since the last time; return whether anything changed."""
        before = self._open, self._cleared
        new = {rank: self._new_lines(rank, each) for rank, each in said.items()}
        for ranks, lines in _alike(new):
            self._lines += [(ranks, line) for line in lines]
        self._open = {rank: begun for rank, each in said.items() if (begun := self._begun(rank, each))}
        while len(self._lines) > _LINES:
            self._lines.popleft()
            self._dropped += 1
        return any(new.values()) or before != (self._open, self._cleared)

    def __str__(self) -> str:
        rows = [*self._lines, *((ranks, line) for ranks, lines in _alike(self._open) for line in lines)]
        width = max([0, *(len(name_ranks(ranks)) for ranks, _ in rows)])
        earlier = f"{counted(self._dropped, 'line')} before these: all are shown when the cell ends"
        lines = [f"{name_ranks(ranks).ljust(width)}{_MARK}{line}" for ranks, line in rows]
        return "\n".join([*([earlier] if self._dropped else []), *lines])

    def _new_lines(self, rank: int, said: Said) -> list[str]:
        read, lines = self._read.setdefault(rank, [0, 0, 0]), []
        count = self.counts.setdefault(rank, 0)
        for display in said.displays[read[2] :]:
            out, errors = display["written"]
            if display.get("clear"):
                self._forget(rank)
                read[:2], lines, count = [max(read[0], out), max(read[1], errors)], [], 0
            elif not display["update"]:
                shown = display["data"].get("text/plain", "a display").splitlines()
                begun = [*_lines_in(said.stdout[read[0] : out]), *shown]
                lines, count, read[0] = [*lines, *begun], count + len(begun), max(read[0], out)
        read[2] = len(said.displays)
        for stream, text in enumerate((said.stdout, said.stderr)):
            end = _settled(text, read[stream])
            count += text.count(b"\n", read[stream], end)
            lines += _lines_in(text[max(read[stream], end - _BYTES) : end])
            read[stream] = end
        self.counts[rank] = count
        return lines

    def _begun(self, rank: int, said: Said) -> tuple[str, ...]:
        texts = zip((said.stdout, said.stderr), self._read[rank], strict=False)
        return tuple(line for text, start in texts for line in _lines_in(text[max(start, len(text) - _BYTES) :]))

    def _forget(self, rank: int) -> None:
        """Remove the rank's lines, which it has cleared."""
        self._cleared += 1
        without = [(tuple(each for each in ranks if each != rank), line) for ranks, line in self._lines]
        self._lines = deque((ranks, line) for ranks, line in without if ranks)


def _alike(lines: Mapping[int, Iterable[str]]) -> list[tuple[tuple[int, ...], Iterable[str]]]:
    """Return (ranks, lines), ranks with equal lines together at the first one's place."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for rank in sorted(lines):
        groups.setdefault(tuple(lines[rank]), []).append(rank)
    return [(tuple(ranks), each) for each, ranks in groups.items()]


def _settled(text: bytes, start: int) -> int:
    """Return where the last line ends that will not change any more."""
    last_up = text.rfind(_UP, start)
    if last_up >= 0 and text.count(b"\n", last_up) < _SETTLED:
        return start
    return max(start, text.rfind(b"\n", start) + 1)


def _lines_in(text: bytes) -> list[str]:
    shown = as_on_a_terminal(text.decode("utf-8", "replace")).rstrip("\n")
    return shown.split("\n") if shown else []


# ---------------------------------------------------------------------- where it is shown
class Place(Protocol):
    def show(self, stream: Stream) -> None: ...

    def clear(self, more_follows: bool) -> None:
        """Remove what was shown. `more_follows`: the call's end prints something."""


class InNotebook:
    """A display whose content is replaced. In a cell that is nothing but the call, it is removed at the end.

    It stays, empty, where other threads have printed meanwhile: only the whole output of a cell can be removed.
    """

    def __init__(self, alone: bool):
        self._printed = Printed() if alone else None
        self._handle: Any = None

    def show(self, stream: Stream) -> None:
        self._update({"text/plain": str(stream)})

    def clear(self, more_follows: bool) -> None:
        from IPython.display import clear_output

        alone = self._printed is not None and not self._printed.end()
        if self._handle is not None:
            self._update({})  # where nothing can be removed, it stays as an empty display
            if alone:
                clear_output(wait=more_follows)

    def _update(self, data: dict[str, str]) -> None:
        from IPython.display import DisplayHandle

        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display({}, raw=True)
        self._handle.update(data, raw=True)


class Printed:
    """Whether anything is printed in this process from now on, by whatever thread."""

    def __init__(self) -> None:
        streams = {id(stream): stream for stream in (sys.stdout, sys.stderr)}.values()  # a program may make them one
        noted = [stream for stream in streams if hasattr(stream, "__dict__")]
        self._anything = len(noted) < len(streams)  # of the others nothing is known
        self._before = [(stream, vars(stream).get("write")) for stream in noted]
        for stream, _ in self._before:
            stream.write = self._noting(stream.write)

    def end(self) -> bool:
        """Return whether anything was printed."""
        for stream, write in self._before:
            if write is None:
                del stream.write
            else:
                stream.write = write
        self._before = []
        return self._anything

    def _noting(self, write: Callable[[str], int]) -> Callable[[str], int]:
        def noting(text: str) -> int:
            self._anything = True
            return write(text)

        return noting


class OnTerminal:
    """One line on a terminal that counts the ranks' lines: a terminal cannot replace what has scrolled away."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, stream: Stream) -> None:
        columns = shutil.get_terminal_size().columns - 1
        self._write(lines_so_far(stream.counts)[:columns])
        self._shown = True

    def clear(self, more_follows: bool) -> None:
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()


def lines_so_far(counts: Mapping[int, int]) -> str:
    """Return how much ranks have said: "ranks 0-1: 14 lines, rank 2: 3 lines …"."""  # fmt: skip
    groups = _alike({rank: [counted(count, "line")] for rank, count in counts.items()})
    return ", ".join(f"{name_ranks(ranks)}: {said}" for ranks, (said,) in groups) + " …"


def place(alone: bool) -> Place | None:
    """Return where output can be shown during a call, None where it cannot, as under `%%capture` or in a file."""
    if threading.current_thread() is not threading.main_thread():
        return None
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        captured = type(shell.display_pub).__name__ == "CapturingDisplayPublisher"  # it would keep every state
        return None if captured else InNotebook(alone)
    return OnTerminal() if _is_terminal(sys.stderr) else None


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


class Live:
    """Shows a call's output from its third second on, until it ends."""

    def __init__(self, said: Callable[[], Mapping[int, Said]], at: Place | None):
        self._said, self._place = said, at
        self._stream, self._new = Stream(), False
        self._next_s = time.monotonic() + EVERY_S
        self._show_s = time.monotonic() + LIVE_AFTER_S

    def look(self) -> None:
        """Take what ranks have said since the last look, and show it, if it is time to."""
        if self._place is None or (now_s := time.monotonic()) < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        self._new |= self._stream.take(self._said())
        if self._new and now_s >= self._show_s:
            self._place.show(self._stream)
            self._new = False

    def end(self, more_follows: bool) -> None:
        if self._place is not None:
            self._place.clear(more_follows)
