"""Join several files into the one ES module that anywidget takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent


def joined(folder: Path, *names: str) -> str:
    """Concatenate the files `folder`/`name`.js: they share one scope, and only the last exports.

    The caller orders them: a class before the one that extends it.
    """
    return _read([folder / name for name in names], ".js")


def script_and_styles(own: Path, *parts: str) -> tuple[str, str]:
    """Return a widget's `_esm` and `_css`: `own`.js and `own`.css, after those of the shared parts in this folder.

    As text: given a path, anywidget watches the file and never frees a view.
    """
    files = [*(FOLDER / part for part in parts), own]
    return _read(files, ".js"), _read(files, ".css")


def _read(files: Iterable[Path], suffix: str) -> str:
    return "\n".join(file.with_suffix(suffix).read_text(encoding="utf-8") for file in files)
