"""Output of the ranks, read from their files and shown in rank order, during a call and at its end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab_utils.ranks.on_rank.streams import DISPLAYED, STDERR, STDOUT, stream_file
from lab_utils.text import as_on_a_terminal, block, merge, name_ranks

LIVE_AFTER_S = 2.0  # a call that runs longer shows its output so far
_LIVE_EVERY_S = 0.5
_LIVE_LINES, _LIVE_BYTES = 20, 1 << 16  # last lines and bytes per rank


@dataclass(slots=True)
class Said:
    """One rank's output that has not been shown yet: the bytes of its streams, and its displays as it wrote them.

    A display's `written` is its position: the bytes of stdout and of stderr before it.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    displays: list[dict[str, Any]] = field(default_factory=list)

    def parts(self) -> list[str | dict[str, Any]]:
        """Return texts of stdout and the displays between them, with clears and updates applied."""
        parts, at = [], 0
        for display in self.displays:
            until = max(at, display["written"][0])
            if display.get("clear"):
                parts, at = [], until
                continue
            parts += [_text(self.stdout[at:until]), display]
            at = until
            if (
                display["update"]
                and (first := _first_of(parts[:-1], display["transient"].get("display_id"))) is not None
            ):
                parts[first] = display | {"update": False}
                parts.pop()
        return [part for part in (*parts, _text(self.stdout[at:])) if part]

    def stdout_so_far(self) -> str:
        if not self.displays:
            return _text(self.stdout[-_LIVE_BYTES:])
        return "".join(part for part in self.parts() if isinstance(part, str))

    def errors(self) -> str:
        cleared = [display["written"][1] for display in self.displays if display.get("clear")]
        return _text(self.stderr[max([0, *cleared]) :])


def _first_of(parts: list, display_id: str | None) -> int | None:
    ids = [None if isinstance(part, str) else part["transient"].get("display_id") for part in parts]
    return ids.index(display_id) if display_id in ids and display_id is not None else None


def _text(said: bytes) -> str:
    return as_on_a_terminal(said.decode("utf-8", "replace"))


class _Files:
    """The three output files of one process of a rank, and how far each was read."""

    def __init__(self, folder: str, pid: int):
        self._paths = [stream_file(folder, stream, pid) for stream in (STDOUT, STDERR, DISPLAYED)]
        self._read = [0, 0, 0]
        self._half = b""  # a display not yet completely written
        self._held: list[io.FileIO] = []

    def read(self, into: Said) -> None:
        begin = self._read[0] - len(into.stdout), self._read[1] - len(into.stderr)
        *displays, self._half = (self._half + self._new(2)).split(b"\n")  # read before the text they follow
        into.stdout += self._new(0)
        into.stderr += self._new(1)
        for display in map(json.loads, displays):
            display["written"] = [bytes_ - start for bytes_, start in zip(display["written"], begin, strict=True)]
            into.displays.append(display)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the files open, so that they can be read after their removal."""
        with contextlib.ExitStack() as stack:
            self._held = [stack.enter_context(open(path, "rb", buffering=0)) for path in self._paths]
            yield
            self._held = []

    def _new(self, stream: int) -> bytes:
        path, start = self._paths[stream], self._read[stream]
        if not self._held and os.stat(path).st_size == start:  # nearly always
            return b""
        with contextlib.nullcontext(self._held[stream]) if self._held else open(path, "rb", buffering=0) as file:
            file.seek(start)
            new = file.readall()
        self._read[stream] += len(new)
        return new


class Outputs:
    """Output of all ranks. One call at a time shows it."""

    def __init__(self, folder: Path):
        self._folder = str(folder)
        self._files: dict[int, _Files] = {}
        self._said: dict[int, Said] = {}
        self._displays: set[str] = set()  # ids in the notebook: of equal displays only the first rank's is shown

    def follow(self, rank: int, pid: int) -> None:
        """Read this process's files as the rank's output from now on."""
        if rank in self._files:
            self._read(rank)  # the rest of the previous process's output
        self._files[rank] = _Files(self._folder, pid)

    def show(self) -> None:
        """Print and display the output since the last call of `show`."""
        said = self._all()
        self._said = {}
        _show(said, self._displays)

    def so_far(self) -> str:
        """Return what `show` would print now, cut to the last lines per rank."""
        said = self._all()
        streams = {r: each.stdout_so_far() for r, each in said.items()}, {r: each.errors() for r, each in said.items()}
        return "".join(merge({rank: _last_lines(text) for rank, text in stream.items()}) for stream in streams)

    @contextlib.contextmanager
    def live(self) -> Iterator[Live]:
        """Show output at the end of a call, and in a notebook also during it."""
        shown = Live(self)
        try:
            yield shown
        finally:
            shown.end()
            self.show()

    @contextlib.contextmanager
    def last_words(self) -> Iterator[None]:
        """Show what the ranks still print while they end and their folder is removed."""
        with contextlib.ExitStack() as stack:
            for files in self._files.values():
                stack.enter_context(files.held())
            yield
            self.show()

    def _all(self) -> dict[int, Said]:
        for rank in self._files:
            self._read(rank)
        return {rank: self._said[rank] for rank in sorted(self._said)}

    def _read(self, rank: int) -> None:
        self._files[rank].read(self._said.setdefault(rank, Said()))


class Live:
    """A display that shows output during a long call, and is empty afterwards."""

    def __init__(self, outputs: Outputs):
        self._outputs = outputs
        self._next_s = time.monotonic() + LIVE_AFTER_S
        self._handle, self._text = None, ""
        self._possible = _in_a_notebook() and threading.current_thread() is threading.main_thread()

    def look(self) -> None:
        """Update the display if it is due and the output has changed."""
        if not self._possible or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _LIVE_EVERY_S
        if (text := self._outputs.so_far()) != self._text:
            self._text = text
            self._update({"text/plain": text.rstrip("\n")})

    def end(self) -> None:
        if self._handle is not None:
            self._update({})

    def _update(self, data: dict[str, str]) -> None:
        from IPython.display import DisplayHandle

        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display({}, raw=True)
        self._handle.update(data, raw=True)


def _in_a_notebook() -> bool:
    """Whether a notebook can update a display; not under `%%capture`, which would keep every state."""
    if "IPython" not in sys.modules or (ip := sys.modules["IPython"].get_ipython()) is None:
        return False
    return hasattr(ip, "kernel") and type(ip.display_pub).__name__ != "CapturingDisplayPublisher"


def _last_lines(text: str) -> str:
    return "\n".join(text.rstrip("\n").splitlines()[-_LIVE_LINES:])


# ---------------------------------------------------------------------- showing
def _show(said: dict[int, Said], displays: set[str]) -> None:
    parts = {rank: each.parts() for rank, each in said.items()}
    if any(isinstance(part, dict) for each in parts.values() for part in each):
        _show_displays(parts, displays)
    elif text := merge({rank: "".join(each) for rank, each in parts.items()}):
        print(text, end="")
    if errors := merge({rank: each.errors() for rank, each in said.items()}):
        print(errors, end="", file=sys.stderr)


def _show_displays(parts: dict[int, list[str | dict[str, Any]]], displays: set[str]) -> None:
    """Show text and displays, ranks with equal output once, at the first one's place, as `merge` does."""
    groups: dict[str, list[int]] = {}
    for rank, each in parts.items():
        if each:
            shown = [part if isinstance(part, str) else [part["data"], part["metadata"]] for part in each]
            groups.setdefault(json.dumps(shown), []).append(rank)
    for ranks in groups.values():
        name = name_ranks(ranks)
        for number, part in enumerate(parts[ranks[0]]):
            if isinstance(part, str):
                print(block(name, part.rstrip("\n")), end="")
            else:
                display_id = part["transient"].get("display_id")
                update = part["update"] and display_id in displays
                if not update and (number == 0 or not isinstance(parts[ranks[0]][number - 1], str)):
                    print(f"{name}:")
                _display(part, update)
                displays |= {display_id} - {None}


def _display(part: dict[str, Any], update: bool) -> None:
    ip = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if ip is None:  # in a script
        print(part["data"].get("text/plain", ""))
    else:
        ip.display_pub.publish(part["data"], part["metadata"], transient=part["transient"], update=update)
