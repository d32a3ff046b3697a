"""Widgets in a cell's output: closed when the cell runs again or is deleted, since they are no longer visible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import ipywidgets
from IPython import get_ipython

# Actions for the end of the running cell.
_waiting: set[Hashable] = set()


def at_cell_end(name: Hashable, action: Callable[[], None]) -> None:
    """Call `action` when the cell ends, also if it fails; once per name, however often it is requested.

    Does nothing outside IPython.
    """
    shell = get_ipython()
    if shell is None or name in _waiting:
        return

    def cell_ended(*_: object) -> None:
        shell.events.unregister("post_run_cell", cell_ended)
        _waiting.discard(name)
        action()

    shell.events.register("post_run_cell", cell_ended)
    _waiting.add(name)


MOST_OUTSIDE = 20  # widgets shown outside cells, as by a slider's callback: the oldest are closed
OUTSIDE = ""
_shown: dict[str, list[ipywidgets.DOMWidget]] = {}


def close_with_output(widget: ipywidgets.DOMWidget) -> None:
    """Close the widget when the running cell runs again or is deleted. Only in a notebook's kernel."""
    shell = get_ipython()
    if not _shown:
        shell.events.register("pre_run_cell", _close_old)
    mine = _shown.setdefault(_request().get("cellId", OUTSIDE), [])
    mine.append(widget)
    if _shown.get(OUTSIDE) is mine and len(mine) > MOST_OUTSIDE:
        _close(mine.pop(0))


def _close_old(*_: object) -> None:
    request = _request()
    for cell in (request.get("cellId"), *request.get("deletedCells", ())):
        for widget in _shown.pop(cell, ()):
            _close(widget)
    if not _shown:
        get_ipython().events.unregister("pre_run_cell", _close_old)


def _close(widget: ipywidgets.DOMWidget) -> None:
    """Close the widget and its layout, a separate widget that it does not close."""
    widget.close()
    widget.layout.close()


def _request() -> Mapping[str, Any]:
    """Return the metadata of the execute request: the cell's id, and cells deleted since the last."""
    return get_ipython().get_parent().get("metadata", {})
