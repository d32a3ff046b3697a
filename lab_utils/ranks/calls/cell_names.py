"""The notebook's cells as files: their compiled file name, their name in the notebook, and their lines."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Iterable
from typing import NamedTuple

_LINE = re.compile(r"^In \[.*\]:(\d+)$")


class Cell(NamedTuple):
    """A notebook cell whose code runs on the ranks, which have no file with its lines.

    file    file name it was compiled under
    name    its name in the notebook: "In [5]"
    """

    file: str
    name: str
    source: str


def cells_of(files: Iterable[str]) -> list[Cell]:
    """Return the cells among these files; none outside a notebook."""
    numbers = _numbers()
    return [Cell(file, f"In [{numbers[file]}]", _text(file)) for file in sorted(files) if file in numbers]


def magic_cell(source: str, number: int) -> Cell:
    """Return the cell of a magic, which is compiled on the ranks; register its lines for tracebacks here."""
    file = sys.modules["IPython"].get_ipython().compile.cache(source, number)
    return Cell(file, f"In [{number}]", source)


def line_of(file: str, line: int) -> str:
    """Return a line of a file or of a cell (by file or by name); "" when there is none."""
    held = [path for path, number in _numbers().items() if file == f"In [{number}]" and path in linecache.cache]
    # A magic's cell is registered twice; the call of the magic comes first.
    return linecache.getline(held[-1] if held else file, line).strip()


def line_in_words(source: str) -> str:
    """Return a source line as a sentence names it: of a cell only the line, since cell numbers differ by session."""
    line = _LINE.match(source)
    return f"line {line[1]}" if line else source


def is_notebooks(name: str) -> bool:
    """Whether the notebook has a variable of this name."""
    ip = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return ip is not None and name in ip.user_ns and name not in ip.user_ns_hidden


def keep(cells: Iterable[Cell]) -> None:
    """Register the cells' lines on a rank, for tracebacks, `inspect` and warnings."""
    for cell in cells:  # mtime None: linecache never checks the file
        linecache.cache[cell.file] = len(cell.source), None, cell.source.splitlines(keepends=True), cell.file


def _numbers() -> dict[str, int]:
    """Return {file: cell number} of this notebook."""
    ip = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return {} if ip is None else ip.compile._filename_map


def _text(file: str) -> str:
    return "".join(linecache.getlines(file))
