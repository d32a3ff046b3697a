"""Something to do once, when the cell that runs now has ended."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from IPython import get_ipython

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
