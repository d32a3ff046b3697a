"""Which files `make quick` runs, read from what they name, so that no list of them has to be kept."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HEAVY = re.compile(
    r"\b(import torch|ipyparallel|lab_utils\.ranks|start_ranks|(ranks|started)[24])\b"
    r"|\b(multiprocessing|playwright|subprocess)\b"
)
WITH_RANKS = "test_recorder.py"  # the one file that starts ranks all the same


def is_quick(path: Path) -> bool:
    """Neither the file nor a module of tests/ that it needs names torch or what starts processes."""
    return path.name == WITH_RANKS or not any(HEAVY.search(text) for text in with_helpers(path))


def with_helpers(path: Path) -> list[str]:
    """The text of a test file and of each module of tests/ that it imports, or that those import."""
    texts: dict[Path, str] = {}
    ahead = [path]
    while ahead:
        file = ahead.pop()
        texts[file], named = _read(file)
        ahead += [other for name in named if (other := _helpers().get(name)) is not None and other not in texts]
    return list(texts.values())


@cache
def _helpers() -> dict[str, Path]:
    return {other.stem: other for other in Path(__file__).parents[1].rglob("*.py") if other.name != "conftest.py"}


@cache
def _read(file: Path) -> tuple[str, list[str]]:
    """Return the file's text, and the modules that it imports."""
    text = file.read_text(encoding="utf-8")
    return text, re.findall(r"^ *(?:from|import) +(\w+)", text, re.MULTILINE)
