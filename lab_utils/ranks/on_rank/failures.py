"""Describes how a rank's call failed, without objects that the notebook cannot read."""

from __future__ import annotations

import bdb
import re
import time
import traceback

from lab_utils.ranks.diagnosis.errors import Failure, Frame

_BACKEND_SAID = re.compile(
    r"third_party/gloo|Timed out waiting|Connection closed by peer|NCCL|connections to the other ranks were cut"
)
_STACK_OF_CPP = "\nException raised from "  # torch's, below the text of an error
NO_KEYBOARD = (
    "a debugger has no keyboard on a rank: print what is to be seen, or call the function in the notebook itself "
    "and debug it there"
)


def refuse_to_debug(*_: object, **__: object) -> None:
    """Replacement for `breakpoint()`, whose debugger would read end-of-file at once."""
    raise RuntimeError(NO_KEYBOARD)


def refuse_to_ask(*_: object, **__: object) -> str:
    """Replacement for `input()` and `getpass()`."""
    raise RuntimeError("a rank has no keyboard: ask in the notebook, and pass the answer on as an argument")


def failure_of(error: BaseException) -> Failure:
    from lab_utils.comm.recorder.recorder import cell_name, is_own, recorder

    at_s, outer, error = time.perf_counter(), error, _origin(error)
    stack = [f for f in traceback.extract_tb(error.__traceback__) if is_own(f.filename)]
    stack = stack or [f for f in traceback.extract_tb(outer.__traceback__) if is_own(f.filename)]
    frames = tuple(Frame(cell_name(f.filename), f.lineno or 0, f.name, f.line or "") for f in stack)
    if isinstance(error, SyntaxError) and not frames:
        text = (error.text or "").strip()
        frames = (Frame(cell_name(error.filename), error.lineno or 0, "<module>", text),)
    row = getattr(error, "failed_op", None)
    if row is None and recorder.row.state == "in" and _BACKEND_SAID.search(str(error)):
        row = recorder.row  # DDP waits in C++, where the error gets no failed_op
    op, source = (row.what, row.source) if row is not None else ("", "")
    became = "" if outer is error else "".join(traceback.format_exception_only(outer)).partition("\n")[0]
    return Failure(
        recorder.rank, type(error).__name__, _said(error), at_s, frames, op, source, recorder.rank_state(),
        recorder.mismatch, became,
    )  # fmt: skip


def _origin(error: BaseException) -> BaseException:
    """Return the exception that a library wrapped in its own, as pipelining does with a stage's."""
    from lab_utils.comm.recorder.recorder import is_own

    last = traceback.extract_tb(error.__traceback__)[-1:]
    wrapped = error.__cause__ is not None and last and not is_own(last[0].filename)
    return _origin(error.__cause__) if wrapped else error


def _said(error: BaseException) -> str:
    """Return the exception's text without C++ frames, or a note that its `__str__` raised."""
    if isinstance(error, bdb.BdbQuit):
        return NO_KEYBOARD
    try:
        return str(error).partition(_STACK_OF_CPP)[0].strip()
    except Exception as another:
        return f"(no text: its __str__ raised {type(another).__name__})"
