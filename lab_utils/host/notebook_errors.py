"""Errors as a notebook shows them: without the lab's own frames, and with a hint where the lab knows one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_LAB = f"{Path(__file__).parents[1]}{os.sep}"
_NO_GROUP = re.compile(r"environment variable \w+ expected, but not set|Default process group has not been initialized")
IS_NO_RANK = (
    "this cell runs in the notebook's own process, which is no rank: with %%ranks as its first line it runs on the "
    "ranks, which are in a group already"
)
hints: list[Callable[[BaseException], str]] = []  # each returns a sentence on an error, or ""; on a rank there are none


def improve_errors(shell: Any) -> None:
    """Fold the lab's frames away from this shell's tracebacks (`%xmode --show` shows them), and add hints."""
    shown = shell.InteractiveTB
    get_records, structured_traceback = shown.get_records, shown.structured_traceback

    def without_the_labs(*args: Any) -> list[Any]:
        records = get_records(*args)
        return [each for each in records if not _is_ours(each)] if shown.skip_hidden else records

    def with_hint(etype: Any = None, evalue: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(evalue, BaseException):
            with suppress(Exception):  # a hint that cannot be found must not hide the error
                _add_hint(evalue)
        return structured_traceback(etype, evalue, *args, **kwargs)

    shown.get_records, shown.structured_traceback = without_the_labs, with_hint


def _is_ours(record: Any) -> bool:
    return str(getattr(record, "filename", "")).startswith(_LAB)


def _add_hint(error: BaseException) -> None:
    said = next(filter(None, (hint(error) for hint in hints)), "")
    if said and said not in getattr(error, "__notes__", ()):
        error.add_note(said)


def _wants_a_rank(error: BaseException) -> str:
    """Hint at `%%ranks` where torch.distributed misses its group in the notebook's own process."""
    wanting = isinstance(error, ValueError | RuntimeError) and _NO_GROUP.search(str(error))
    return IS_NO_RANK if wanting else ""


hints.append(_wants_a_rank)
