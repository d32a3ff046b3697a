"""README.md and docs/: their examples, as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "labs/glossary.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")  # begins an example that is a file, not a cell
RECORD = "python -m lab_utils record -- "


@dataclass(frozen=True)
class Example:
    """A fenced block. `shown` is the output that the page says it has: a `text` block right below, "" without one."""

    language: str
    text: str
    shown: str = ""

    @property
    def raises(self) -> bool:
        return re.match(r"[A-Z]\w+: ", self.shown) is not None


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    found: list[Example] = []
    end = 0
    for fence in FENCE.finditer(text):
        language, body = fence.groups()
        if language == "text" and found and not text[end : fence.start()].strip():
            found[-1] = Example(found[-1].language, found[-1].text, body)
        else:
            found.append(Example(language, body))
        end = fence.end()
    return found


def cells(page: Path) -> list[tuple[Example, str]]:
    """Return each example that runs, and the cell's code: Python as it is, files written, programs recorded."""
    return [(example, code) for example in examples(page) if (code := _code(example))]


def _code(example: Example) -> str:
    file = FILE.match(example.text)
    if example.language == "python":
        return f"%%writefile {file[1]}\n{example.text}" if file else example.text
    if example.language == "sh" and example.text.startswith(RECORD):
        words = shlex.split(example.text)[1:]
        return f"import subprocess, sys\nsubprocess.run([sys.executable, *{words}], check=True)"
    return ""


def notebook(page: Path) -> nbformat.NotebookNode:
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code.rstrip()) for _, code in cells(page)])
    node.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return node


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Yield (page, words) of each shell command of the pages, also of those in `backquotes` in a table."""
    for page in PAGES:
        lines = [line for example in examples(page) if example.language == "sh" for line in example.text.splitlines()]
        for line in [*lines, *re.findall(r"`((?:make|python|conda|pip) [^`]*)`", page.read_text(encoding="utf-8"))]:
            for command in line.partition("  #")[0].split("&&"):
                yield page, shlex.split(command)
