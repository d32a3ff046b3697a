"""Widgets that belong to a cell's output: closed when the cell runs again or is gone, as nobody sees them any more."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import ipywidgets
from IPython import get_ipython

# Something to do once, when the cell that runs now has ended.
_waiting: set[Hashable] = set()


def at_cell_end(name: Hashable, action: Callable[[], None]) -> None:
    """Call `action` when the cell ends, also when it fails; once, however often it is asked for under that name.

    Does nothing without a notebook: there is nobody who waits for a cell.
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


MOST_OUTSIDE = 20  # widgets that a slider's callback showed, say: no cell runs again, so the oldest are closed
OUTSIDE = ""
_shown: dict[str, list[ipywidgets.DOMWidget]] = {}


def close_with_output(widget: ipywidgets.DOMWidget) -> None:
    """Close the widget once the cell that runs now runs again or has been deleted. Only in a notebook's kernel."""
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
    """With its layout, a widget of its own, which it leaves behind."""
    widget.close()
    widget.layout.close()


def _request() -> Mapping[str, Any]:
    """What the notebook says of the cell that it asks to run: its id, and which cells were deleted since the last."""
    return get_ipython().get_parent().get("metadata", {})
