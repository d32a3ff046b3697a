"""Pipeline errors: one sentence that says where they occurred, with the cause chained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from lab_utils.comm.recorder.recorder import is_own


class StageError(RuntimeError):
    """A stage's forward or backward failed. The message names op, micro-batch and stage."""


class PreprocessError(RuntimeError):
    """An item could not be preprocessed. The message names it."""


@contextmanager
def reraise_as(kind: type[RuntimeError], what: str) -> Iterator[None]:
    """Re-raise an error inside as `kind`, naming what failed; the last frame of its traceback is the user's own."""
    try:
        yield
    except Exception as error:
        frames = _until_own(error.__traceback__)
        raise kind(f"{what} failed: {type(error).__name__}: {error}").with_traceback(frames) from error


def _until_own(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the library frames at its end."""
    frames = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    while frames and not is_own(frames[-1].tb_frame.f_code.co_filename):
        frames.pop()
    kept = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept
