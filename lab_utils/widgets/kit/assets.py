"""Join several files, and the words that they show, into the one ES module that anywidget takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab_utils.widgets.kit.words import SCRIPTS

FOLDER = Path(__file__).parent
Words = Mapping[str, str | Mapping[str, str]]  # of a script: sentences, and {key: what it does}
NO_WORDS: Words = {}


def joined(folder: Path, *names: str, words: Words = NO_WORDS) -> str:
    """Concatenate the files `folder`/`name`.js: they share one scope, and only the last exports.

    The caller orders them: a class before the one that extends it. `words` is the scripts' part of the widget's
    catalogue: `WORDS.name` there, with `{placeholders}` that `fill(WORDS.name, {values})` fills. Those of the parts in
    this folder join them.
    """
    return _worded(
        _read([folder / name for name in names], ".js"), _with_parts(names if folder == FOLDER else (), words)
    )


def script_and_styles(own: Path, *parts: str, words: Words = NO_WORDS) -> tuple[str, str]:
    """Return a widget's `_esm` and `_css`: `own`.js and `own`.css, after those of the shared parts in this folder.

    As text: given a path, anywidget watches the file and never frees a view. `words` as in `joined`.
    """
    files = [*(FOLDER / part for part in parts), own]
    return _worded(_read(files, ".js"), _with_parts(parts, words)), _read(files, ".css")


def styles(*parts: str | Path) -> str:
    """Return the styles of these parts of the kit that have some, and of a widget's own files."""
    return _read([FOLDER / part for part in parts], ".css")


def _with_parts(parts: Iterable[str], words: Words) -> Words:
    for part in parts:
        words = SCRIPTS.get(part, {}) | dict(words)
    return words


def _worded(script: str, words: Words) -> str:
    if not words:
        return script
    catalogue = f"const WORDS = {json.dumps(words, ensure_ascii=False, indent=1)};"
    return "\n".join([catalogue, (FOLDER / "fill.js").read_text(encoding="utf-8"), script])


def _read(files: Iterable[Path], suffix: str) -> str:
    """Return the texts of those files that there are: a part may have no styles."""
    named = [file.with_suffix(suffix) for file in files]
    return "\n".join(file.read_text(encoding="utf-8") for file in named if suffix == ".js" or file.exists())
