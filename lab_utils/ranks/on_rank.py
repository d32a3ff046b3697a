"""What runs on a rank: it joins the group, runs functions and cells, and says how they ended.

Imported by the notebook's kernel too (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab_utils.comm.groups import Groups
from lab_utils.ranks.errors import Failure, Frame
from lab_utils.ranks.naming import Cell, keep
from lab_utils.ranks.own_modules import read_own_sources
from lab_utils.ranks.picklers import rank_namespace
from lab_utils.ranks.reloading import own_modules
from lab_utils.ranks.shipping import pack_result, settle, unpack
from lab_utils.ranks.surroundings import Surroundings, begin

_BACKEND_SAID = re.compile(
    r"third_party/gloo|Timed out waiting|Connection closed by peer|NCCL|connections to the other ranks were cut"
)


@dataclass(slots=True)
class Outcome:
    """How a call ended on one rank. `result` is pickled; `ops` and `phases` are there when it was recorded.

    broken   its groups must be formed anew: the call ended them, as a script does at its end, or caught the error of an
             op that took their connections along
    """

    rank: int
    result: bytes = b""
    stdout: str = ""
    stderr: str = ""
    failure: Failure | None = None
    ops: list = field(default_factory=list)
    phases: list = field(default_factory=list)
    broken: bool = False


def enlist(rank: int, ranks: int, folder: str, notebook: Surroundings) -> int:
    """Become this rank of so many, in a new process; returns the process id.

    Modules are then imported from where the notebook imports them.
    """
    read_own_sources()
    own_modules.skip_present()
    begin(notebook)
    import torch

    from lab_utils.comm.board import Board
    from lab_utils.comm.forming import register_backend
    from lab_utils.comm.progress import listen
    from lab_utils.comm.recorder import recorder
    from lab_utils.comm.signatures import Signatures
    from lab_utils.ranks.guard import socket_file, stand_guard

    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    register_backend()
    recorder.attach(rank, ranks, Board(f"{folder}/board"), Signatures(f"{folder}/signatures", rank, ranks))
    listen(_publish)
    stand_guard(socket_file(folder, rank, os.getpid()))
    return os.getpid()


def leave() -> Groups:
    """Cut and let go of every group, without waiting for anybody."""
    from lab_utils.comm import forming

    return forming.leave()


def form(store: str, epoch: int, agreed: Groups, timeout_s: float) -> None:
    """Form the groups again on loopback, on a fresh store."""
    from lab_utils.comm import forming
    from lab_utils.comm.recorder import recorder

    forming.form(store, epoch, agreed, timeout_s)
    recorder.show("idle")


def _publish(values: dict) -> None:
    from ipyparallel.datapub import publish_data

    publish_data({"report": values})


def run(payload: bytes, cells: list[Cell], record: bool = False, count: bool = True) -> Outcome:
    """Run a packed function, whose code is of these cells of the notebook's, or of files."""
    return _guarded(lambda: _call(payload), cells, record, count)


def _call(payload: bytes) -> Any:
    function, args, kwargs = unpack(payload)
    return function(*args, **kwargs)


def run_cell(cell: Cell, record: bool = False, count: bool = True, notebook: Surroundings | None = None) -> Outcome:
    """Run a cell in the rank's namespace; its last expression's repr is printed, as a notebook would."""
    return _guarded(lambda: _execute(cell, notebook), [cell], record, count)


def _execute(cell: Cell, notebook: Surroundings | None) -> None:
    if notebook is not None:
        settle(notebook)
    tree = ast.parse(cell.source, cell.file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    namespace = rank_namespace()
    exec(compile(tree, cell.file, "exec"), namespace)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), cell.file, "eval"), namespace)
        if value is not None and not cell.source.rstrip().endswith(";"):
            print(repr(value))


def _guarded(call: Callable[[], Any], cells: list[Cell], record: bool, count: bool) -> Outcome:
    """Run the call with its prints collected; an exception becomes a Failure and cuts this rank off its group."""
    import torch.distributed as dist

    from lab_utils.comm.recorder import name_files, recorder

    outcome = Outcome(recorder.rank)
    keep(cells)
    name_files({cell.file: cell.name for cell in cells})
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            error = _attempt(call, outcome, record, count)
        except KeyboardInterrupt as again:  # interrupted while it ended by an exception, or by another interrupt
            error = again
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if error is not None:
            outcome.failure = _failure(error)
            leave()  # the others wait for this rank in vain: let them know at once
        recorder.show("idle")
    outcome.broken = not dist.is_initialized() or recorder.broken
    outcome.stdout, outcome.stderr = out.getvalue(), err.getvalue()
    return outcome


def _attempt(call: Callable[[], Any], outcome: Outcome, record: bool, count: bool) -> BaseException | None:
    """Run the call, and return the exception by which it ended. Interrupts are for the call: later ones are ignored."""
    from lab_utils.comm.recorder import recorder

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        recorder.begin_call()
        with _recorded(outcome, count) if record else contextlib.nullcontext():
            result = call()
        outcome.result = pack_result(result)
        _refuse_open_coalescing()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the rank must stay
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # raises what is pending
        return error
    return None


def _refuse_open_coalescing() -> None:
    """An exception inside torch's coalescing manager leaves it open, and every later op would wait there for ever."""
    from lab_utils.comm.forming import forget_coalescing

    if left_open := forget_coalescing():
        raise RuntimeError(
            f"a coalescing manager was left open by an exception on {', '.join(left_open)}: the ops inside it never ran"
        )


@contextlib.contextmanager
def _recorded(outcome: Outcome, count: bool):
    import torch.distributed as dist

    from lab_utils.comm.recorder import recording

    with recording(count, meet=dist.barrier) as recorded:
        yield
    outcome.ops, outcome.phases = recorded.ops, recorded.phases


def _origin(error: BaseException) -> BaseException:
    """What a library made its own exception from: pipelining does so with what a stage raised."""
    from lab_utils.comm.recorder import is_own

    last = traceback.extract_tb(error.__traceback__)[-1:]
    wrapped = error.__cause__ is not None and last and not is_own(last[0].filename)
    return _origin(error.__cause__) if wrapped else error


def _failure(error: BaseException) -> Failure:
    from lab_utils.comm.recorder import cell_name, is_own, recorder

    at_s, outer, error = time.perf_counter(), error, _origin(error)
    stack = [f for f in traceback.extract_tb(error.__traceback__) if is_own(f.filename)]
    stack = stack or [f for f in traceback.extract_tb(outer.__traceback__) if is_own(f.filename)]
    frames = tuple(Frame(cell_name(f.filename), f.lineno or 0, f.name, f.line or "") for f in stack)
    if isinstance(error, SyntaxError) and not frames:
        text = (error.text or "").strip()
        frames = (Frame(cell_name(error.filename), error.lineno or 0, "<module>", text),)
    row = getattr(error, "failed_op", None)
    if row is None and recorder.row.state == "in" and _BACKEND_SAID.search(str(error)):
        row = recorder.row  # DDP waits in C++, where nobody can mark the error
    op, source = (row.what, row.source) if row is not None else ("", "")
    became = "" if outer is error else "".join(traceback.format_exception_only(outer)).partition("\n")[0]
    return Failure(
        recorder.rank, type(error).__name__, _said(error), at_s, frames, op, source, recorder.standing(),
        recorder.mismatch, became,
    )  # fmt: skip


def _said(error: BaseException) -> str:
    """The exception's text; that it has none, where its own code for it fails."""
    try:
        return str(error).strip()
    except Exception as another:
        return f"(no text: its __str__ raised {type(another).__name__})"
