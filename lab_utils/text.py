"""Text for people: unknown names, names of ranks, merged output, and numbers with three digits and a unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

V = TypeVar("V")
_AT_MOST = 4
_UP = "\x1b[A"  # moves a terminal's cursor to the line above


class UnknownName(KeyError):
    """An unknown name; the text suggests known ones."""

    __str__ = Exception.__str__  # KeyError would show a sentence in quotes


class Named(dict[str, V]):
    """A dict whose `[name]` raises UnknownName.

    >>> Named("schedule", {"gpipe": ...})["pipe"]
    UnknownName: no schedule is named 'pipe': did you mean 'gpipe'?
    """

    def __init__(self, kind: str, entries: Mapping[str, V]) -> None:
        super().__init__(entries)
        self._kind = kind

    def __missing__(self, name: object) -> V:
        raise UnknownName(f"no {self._kind} is named {name!r}: {meant(name, self)}")


def meant(name: object, known: Iterable[str]) -> str:
    """Return the end of a sentence on an unknown name: "did you mean 'H100 node'?", or a list of all known names."""
    known = list(known)
    if alike := _alike(str(name).lower(), known):
        return f"did you mean {' or '.join(map(repr, alike))}?"
    return f"there are {', '.join(known)}"


def _alike(name: str, known: list[str]) -> list[str]:
    """Return names that contain this one, ignoring case; else those spelled like it."""
    holding = [each for each in known if name and name in each.lower()]
    lower = {each.lower(): each for each in known}
    return holding[:_AT_MOST] or [lower[each] for each in get_close_matches(name, lower, _AT_MOST)]


def counted(count: int, what: str) -> str:
    """3, "rank" → "3 ranks"; 1, "batch" → "1 batch"."""
    return f"{count} {what if count == 1 else _several(what)}"


def _several(what: str) -> str:
    return f"{what}es" if what.endswith("ch") else f"{what}s"


_OF_ONE = {"are": "is", "were": "was"}


def verb(count: int, of_several: str) -> str:
    """1, "need" → "needs"; 2, "need" → "need"; 1, "are" → "is"."""
    return of_several if count != 1 else _OF_ONE.get(of_several, f"{of_several}s")


def numbered(what: str, numbers: Collection[int]) -> str:
    """ "chunk", [0, 2, 3] → "chunks 0, 2, 3"; `name_ranks` is shorter."""
    return f"{_several(what) if len(numbers) > 1 else what} {', '.join(map(str, numbers))}"


def name_ranks(ranks: Iterable[int]) -> str:
    """Return the ranks as text: "rank 2", "ranks 0-3", "ranks 0, 2-3"."""  # fmt: skip
    ranks = sorted(ranks)
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    named = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"rank{'s' if len(ranks) > 1 else ''} {named}"


def listed(names: Sequence[str]) -> str:
    """Return the first three names: "head, up, down and 2 more"."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


Justify = Callable[[str, int], str]


def columns(lines: Sequence[Sequence[str]], first: Justify = str.ljust, others: Justify = str.ljust) -> list[str]:
    """Return the lines with their cells aligned in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    justify = [first, *[others] * (len(widths) - 1)]
    return ["  ".join(f(*cell) for f, *cell in zip(justify, line, widths, strict=True)).rstrip() for line in lines]


def merge(outputs: dict[int, str]) -> str:
    """Return one text from {rank: text}: ranks with equal output are named together, at the first one's place."""
    groups: dict[str, list[int]] = {}
    for rank in sorted(outputs):
        if text := outputs[rank].rstrip("\n"):
            groups.setdefault(text, []).append(rank)
    return "".join(block(name_ranks(ranks), text) for text, ranks in groups.items())


def as_on_a_terminal(text: str) -> str:
    """Return the text as a terminal finally shows it: a carriage return overwrites the line (tqdm's bars)."""
    if _UP in text:
        return "\n".join(_on_a_screen(text.replace("\r\n", "\n")))
    if "\r" not in text:
        return text
    return "\n".join(map(_overwritten, text.replace("\r\n", "\n").split("\n")))


def _overwritten(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


def _on_a_screen(text: str) -> list[str]:
    """Return the lines of a screen after this text, which moves up to bars that stand above others."""
    lines, row, column = [""], 0, 0
    for part in re.split(f"(\r|\n|{re.escape(_UP)})", text):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part == _UP:
            row = max(0, row - 1)
        else:
            line = lines[row].ljust(column)
            lines[row] = (line[:column] + part + line[column + len(part) :]).rstrip()
            column += len(part)
    return lines


def block(name: str, text: str) -> str:
    """Return the text after its name; on lines of its own, indented, when it has several lines."""
    if "\n" not in text:
        return f"{name}: {text}\n"
    indented = text.replace("\n", "\n  ")
    return f"{name}:\n  {indented}\n"


TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
FLOP_UNITS = ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"))


def time_unit(seconds: float) -> tuple[float, str]:
    """Return (length in seconds, name) of the unit for `seconds`: s, ms or µs."""
    return next((unit for unit in TIME_UNITS if abs(seconds) >= unit[0]), TIME_UNITS[-1])


def time_text(seconds: float) -> str:
    """0.00123 → "1.23 ms"; "0 s" for what three digits of the smallest unit do not show."""
    size_s, name = time_unit(seconds)
    digits = three_digits(seconds / size_s)
    return f"{digits} {name}" if digits.strip("-0.") else "0 s"


def bytes_text(size_bytes: int) -> str:
    """1_048_576 → "1.05 MB": powers of ten, as for links."""
    for size, name in BYTE_UNITS:
        if size_bytes >= size:
            return f"{three_digits(size_bytes / size)} {name}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"


def flops_text(flops: int) -> str:
    """128_000_000 → "128 MFLOP": a count, not a rate."""
    for size, name in FLOP_UNITS:
        if flops >= size:
            return f"{three_digits(flops / size)} {name}"
    return f"{flops} FLOP"


def percent_text(fraction: float) -> str:
    """0.3125 → "31.2 %"."""
    return f"{100 * fraction:.1f} %"


def three_digits(value: float) -> str:
    """1.234 → "1.23", 12.34 → "12.3", 1234.5 → "1,234" (never an exponent)."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"
