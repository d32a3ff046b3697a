"""The notebook's cells as files: what they were compiled under, what the notebook calls them, and their lines."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell whose code runs on the ranks, where no file holds its lines.

    file    what it was compiled under
    name    what the notebook calls it: "In [5]"
    """

    file: str
    name: str
    source: str


def cells_of(files: Iterable[str]) -> list[Cell]:
    """Return the cells among these files; none outside a notebook."""
    numbers = _numbers()
    return [Cell(file, f"In [{numbers[file]}]", _text(file)) for file in sorted(files) if file in numbers]


def magic_cell(source: str, number: int) -> Cell:
    """Return the cell of a magic, compiled elsewhere: tracebacks here can quote its lines from now on."""
    file = sys.modules["IPython"].get_ipython().compile.cache(source, number)
    return Cell(file, f"In [{number}]", source)


def line_of(file: str, line: int) -> str:
    """Return a line of a file or of a cell, by the cell's name too; empty when there is none."""
    held = [path for path, number in _numbers().items() if file == f"In [{number}]" and path in linecache.cache]
    # A magic's cell was compiled twice, the call of the magic first.
    return linecache.getline(held[-1] if held else file, line).strip()


def keep(cells: Iterable[Cell]) -> None:
    """On a rank: let tracebacks, `inspect` and warnings quote the cells' lines."""
    for cell in cells:  # without a time of change, linecache never looks for the file
        linecache.cache[cell.file] = len(cell.source), None, cell.source.splitlines(keepends=True), cell.file


def _numbers() -> dict[str, int]:
    """{file: number of the cell} of this notebook."""
    ip = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return {} if ip is None else ip.compile._filename_map


def _text(file: str) -> str:
    return "".join(linecache.getlines(file))
