"""Runs cells on a rank as a notebook's own kernel would: magics, shell lines, `await`, `asyncio.run`."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import sys
import traceback
from collections.abc import Coroutine, Iterator
from types import CodeType, FunctionType
from typing import Any

from lab_utils.ranks.calls.cell_names import Cell

_OF_A_RUNNING_LOOP = {"create_task", "ensure_future", "get_running_loop"}
_OF_ONES_OWN = {"asyncio.run", "Runner", "run_until_complete", "run_forever"}


def run_cell(cell: Cell) -> None:
    """Run the cell in the rank's namespace, compiled under the notebook's file name. Raises what the cell raises."""
    from IPython import get_ipython

    shell = get_ipython()
    first_line, _, rest = cell.source.partition("\n")
    source = cell.source
    if not first_line and not rest.lstrip().startswith("%%"):
        source = "#" + source  # IPython drops leading empty lines, which would shift the line numbers
    with _compiled_as(shell, cell.file), _awaited_to_the_end(shell), _shown_errors(shell) as shown:
        result = shell.run_cell(source)
    shell.last_execution_result = None  # it would keep the cell's last value and its exception's frames alive
    error = result.error_before_exec or result.error_in_exec
    for other in [each for each in shown if each is not error and not isinstance(each, asyncio.CancelledError)]:
        traceback.print_exception(other)
    if error:
        raise error


def show_figures() -> None:
    """Show figures that a function has left open, as matplotlib does at the end of a cell."""
    if "matplotlib_inline.backend_inline" in sys.modules:
        sys.modules["matplotlib_inline.backend_inline"].flush_figures()


@contextlib.contextmanager
def no_running_loop() -> Iterator[None]:
    """Hide the engine's running event loop from the call, which may then run its own, as a script may."""
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
def _awaited_to_the_end(shell) -> Iterator[None]:
    """Cancel the task of an interrupted cell, so that its `finally` runs and it does not resume in a later cell."""
    from IPython.core.async_helpers import _asyncio_runner, get_asyncio_loop

    def run(coroutine: Coroutine) -> Any:
        loop = get_asyncio_loop()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            raise

    def should_run_async(raw_cell: str, *, transformed_cell: str | None = None, **more: Any) -> bool:
        asked = type(shell).should_run_async(shell, raw_cell, transformed_cell=transformed_cell, **more)
        return asked or _starts_tasks(transformed_cell or raw_cell, shell.user_ns)

    if shell.loop_runner is not _asyncio_runner:  # changed by `%autoawait`
        yield
        return
    shell.loop_runner, shell.should_run_async = run, should_run_async
    try:
        yield
    finally:
        shell.loop_runner = _asyncio_runner
        del shell.should_run_async


def _starts_tasks(source: str, namespace: dict[str, Any]) -> bool:
    """Whether the source, or a function of the namespace that it names, needs a running loop, as a kernel has one.

    Not where one of them runs a loop of its own, as a script does. Tasks continue whenever a cell awaits.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:  # IPython reports it
        return False
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}
    names = used | {each.rpartition(".")[2] for each in used}
    names |= _names_reached(names, namespace)
    return bool(names & _OF_A_RUNNING_LOOP) and not names & _OF_ONES_OWN


def _names_reached(names: set[str], namespace: dict[str, Any]) -> set[str]:
    """Return the names that the cells' own functions use, from those of these names on."""
    reached: set[str] = set()
    codes = [value.__code__ for name in names if isinstance(value := namespace.get(name), FunctionType)]
    while codes:
        code = codes.pop()
        new = set(code.co_names) - reached
        reached |= new | ({"asyncio.run"} if {"asyncio", "run"} <= set(code.co_names) else set())
        codes += [value.__code__ for name in new if isinstance(value := namespace.get(name), FunctionType)]
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
    return reached


@contextlib.contextmanager
def _shown_errors(shell) -> Iterator[list[BaseException]]:
    """Collect the errors that IPython would show. Some end no cell, such as those of a figure or a script in `%run`;
    the cell's own error is reported by the notebook, in one sentence for all ranks.
    """
    shown: list[BaseException] = []

    def note(exc_tuple: tuple | None = None, *_: object, **__: object) -> None:
        shown.append((exc_tuple or sys.exc_info())[1])

    show = shell.showtraceback
    shell.showtraceback = note
    shell.showsyntaxerror = shell.showindentationerror = lambda *_, **__: note()
    try:
        yield shown
    finally:
        shell.showtraceback = show
        del shell.showsyntaxerror, shell.showindentationerror
