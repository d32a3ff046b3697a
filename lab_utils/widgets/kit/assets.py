"""Join several files into the one ES module and the one style sheet that anywidget takes, with words and colours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab_utils.render import palette
from lab_utils.widgets.kit.words import SCRIPTS

FOLDER = Path(__file__).parent
IN_THE_DARK = 'body[data-jp-theme-light="false"]'
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
    rules = [picture_rules()] if "card" in parts else []
    return _worded(_read(files, ".js"), _with_parts(parts, words)), "\n".join([*rules, styles(*parts, own)])


def styles(*parts: str | Path) -> str:
    """Return the palette's variables, then the styles of these parts of the kit and of a widget's own files."""
    return "\n".join([variables(), _read([FOLDER / part for part in parts], ".css")])


def variables() -> str:
    """Return CSS: in a card `--lab-0072b2` is that colour of the palette as the theme has it, `--lab-ink` a role's."""
    light = {colour: colour for colour in palette.DARK}
    roles = "".join(f" --lab-{role}: {_variable(colour)};" for role, colour in palette.COLORS.items())
    return f".lab-card {{{_set(light)}{roles} }}\n{IN_THE_DARK} .lab-card {{{_set(palette.DARK)} }}"


def picture_rules() -> str:
    """Return CSS: colours in the attributes of a picture follow the theme. Any other rule is stronger."""
    return "\n".join(
        f':where(.lab-card-picture [{name}="{colour}"]) {{ {name}: {_variable(colour)}; }}'
        for colour in palette.DARK
        for name in ("fill", "stroke")
    )


def _set(colours: Mapping[str, str]) -> str:
    return "".join(f" --lab-{colour[1:]}: {value};" for colour, value in colours.items())


def _variable(colour: str) -> str:
    return f"var(--lab-{colour[1:]})"


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
