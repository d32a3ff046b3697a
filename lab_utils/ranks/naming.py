"""Files that hold the notebook's cells, and what the notebook calls them: "In [5]"."""

from __future__ import annotations

import linecache
import sys

_remembered: set[str] = set()


def cell_names() -> dict[str, str]:
    """{path that IPython compiled a cell under: "In [5]"}; empty outside a notebook. Also teaches linecache."""
    ip = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if ip is None:
        return {}
    names = {path: f"In [{number}]" for path, number in ip.compile._filename_map.items()}
    for path, name in names.items():
        if path in linecache.cache and name not in _remembered:  # of a magic's cell IPython knows the call only
            linecache.cache[name] = linecache.cache[path]
    return names


def remember_cell(name: str, source: str) -> None:
    """Let tracebacks quote the lines of a cell that was compiled elsewhere."""
    _remembered.add(name)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
