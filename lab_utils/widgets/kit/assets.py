"""Join several files, and the words that they show, into the one ES module that anywidget takes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lab_utils.widgets.kit.words import SCRIPTS

FOLDER = Path(__file__).parent
NO_WORDS: dict[str, str] = {}


def joined(folder: Path, *names: str, words: dict[str, str] = NO_WORDS) -> str:
    """Concatenate the files `folder`/`name`.js: they share one scope, and only the last exports.

    The caller orders them: a class before the one that extends it. `words` is the scripts' part of the widget's
    catalogue: `WORDS.name` there, with `{placeholders}` that `fill(WORDS.name, {values})` fills.
    """
    return _worded(_read([folder / name for name in names], ".js"), words)


def script_and_styles(own: Path, *parts: str, words: dict[str, str] = NO_WORDS) -> tuple[str, str]:
    """Return a widget's `_esm` and `_css`: `own`.js and `own`.css, after those of the shared parts in this folder.

    As text: given a path, anywidget watches the file and never frees a view. `words` as in `joined`; those of the parts
    join them.
    """
    files = [*(FOLDER / part for part in parts), own]
    for part in parts:
        words = SCRIPTS.get(part, {}) | words
    return _worded(_read(files, ".js"), words), _read(files, ".css")


def _worded(script: str, words: dict[str, str]) -> str:
    if not words:
        return script
    catalogue = f"const WORDS = {json.dumps(words, ensure_ascii=False, indent=1)};"
    return "\n".join([catalogue, (FOLDER / "fill.js").read_text(encoding="utf-8"), script])


def _read(files: Iterable[Path], suffix: str) -> str:
    """Return the texts of those files that there are: a part may have no styles."""
    named = [file.with_suffix(suffix) for file in files]
    return "\n".join(file.read_text(encoding="utf-8") for file in named if suffix == ".js" or file.exists())
