"""One ES module out of several files: anywidget takes one, and nobody wants to read a thousand lines in one file."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def joined(folder: str, *names: str) -> str:
    """The files `folder`/`name`.js one after the other: they share one scope, and only the last exports.

    The order is the caller's: a class stands before the one that extends it.
    """
    parts = [(FOLDER / folder / f"{name}.js").read_text(encoding="utf-8") for name in names]
    return "\n".join(parts)
