"""Output of the ranks, read from their files and shown in rank order, during a call and at its end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_utils.ranks.calls.live import Live, place
from lab_utils.ranks.calls.said import Said
from lab_utils.ranks.on_rank.streams import DISPLAYED, STDERR, STDOUT, stream_file
from lab_utils.text import block, merge, name_ranks


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

    @contextlib.contextmanager
    def live(self, alone: bool = False) -> Iterator[Live]:
        """Show output at the end of a call, and before that as it comes, where it can be replaced then.

        alone   the notebook's cell is nothing but this call
        """
        shown = Live(self._all, place(alone))
        try:
            yield shown
        finally:
            shown.end(any(each.says_something() for each in self._all().values()))
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
