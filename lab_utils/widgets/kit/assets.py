"""One ES module out of several files: anywidget takes one, and nobody wants to read a thousand lines in one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent


def joined(folder: Path, *names: str) -> str:
    """The files `folder`/`name`.js one after the other: they share one scope, and only the last exports.

    The order is the caller's: a class stands before the one that extends it.
    """
    return _read([folder / name for name in names], ".js")


def script_and_styles(own: Path, *parts: str) -> tuple[str, str]:
    """A widget's `_esm` and `_css`: `own`.js and `own`.css, behind those of the parts of it in this folder.

    They are text: with a path anywidget watches the file, and would hold every view for ever.
    """
    files = [*(FOLDER / part for part in parts), own]
    return _read(files, ".js"), _read(files, ".css")


def _read(files: Iterable[Path], suffix: str) -> str:
    return "\n".join(file.with_suffix(suffix).read_text(encoding="utf-8") for file in files)
