"""Code on a rank runs as in a notebook's own kernel: magics, shell lines, `await`, `asyncio.run`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from lab_utils.ranks.naming import Cell


def run_cell(cell: Cell) -> None:
    """Run it in the rank's namespace, compiled as the notebook's file of that name. Raises what it raises."""
    from IPython import get_ipython

    shell = get_ipython()
    first_line, _, rest = cell.source.partition("\n")
    source = cell.source
    if not first_line and not rest.lstrip().startswith("%%"):
        source = "#" + source  # IPython drops empty lines at a cell's start, and lines would be numbered anew
    with _compiled_as(shell, cell.file), _silent_about_errors(shell):
        result = shell.run_cell(source)
    shell.last_execution_result = None  # it would hold the cell's last value, and the frames of its exception
    if error := result.error_before_exec or result.error_in_exec:
        raise error


@contextlib.contextmanager
def no_running_loop() -> Iterator[None]:
    """The engine's own event loop waits for the call: the call finds none, as a script does, and may run its own."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


@contextlib.contextmanager
def _compiled_as(shell, file: str) -> Iterator[None]:
    shell.compile.get_code_name = lambda *_: file
    try:
        yield
    finally:
        del shell.compile.get_code_name


@contextlib.contextmanager
def _silent_about_errors(shell) -> Iterator[None]:
    """The notebook shows them, in one sentence for all ranks."""
    shell.showtraceback = shell.showsyntaxerror = shell.showindentationerror = lambda *_, **__: None
    try:
        yield
    finally:
        del shell.showtraceback, shell.showsyntaxerror, shell.showindentationerror
