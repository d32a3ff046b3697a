"""A folder that looks like the repository to `make lab` and `python -m lab_utils work`: two chapters, and a home."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

PICTURE = nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>"})


def write(path: Path, *sources: str) -> None:
    """Write a notebook of these cells, named a, b, c …: markdown where it begins with "#", else code with a picture."""
    cells = [
        nbformat.v4.new_markdown_cell(source, id=name)
        if source.startswith("#")
        else nbformat.v4.new_code_cell(source, id=name, outputs=[PICTURE])
        for name, source in zip("abcdefgh", sources, strict=False)
    ]
    metadata = {"language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def a_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the working directory."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder / "data"))
    (folder / "labs").mkdir()
    write(folder / "labs/00_ranks.ipynb", "# Ranks", "x = 1", "y = 2")
    write(folder / "labs/01_next.ipynb", "# Next")
