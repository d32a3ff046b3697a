"""`python -m lab_utils work`: copies that are never overwritten, and what changed in the chapters since."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from checkouts import a_checkout, write
from nbformat.sign import NotebookNotary

from lab_utils.host import launch, work

ROOT = Path(__file__).parents[2]
LABS, COPY = Path("labs/00_ranks.ipynb"), Path("work/00_ranks.ipynb")


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_checkout(tmp_path, monkeypatch)


def lines_of(name: str) -> list[str]:
    return dict(work.report())[name]


def edit(path: Path, cell: int, source: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[cell].source = source
    nbformat.write(notebook, path)


def test_a_copy_is_made_once_and_never_overwritten() -> None:
    assert work.copy_missing() == [COPY, Path("work/01_next.ipynb")]
    edit(COPY, 1, "x = 'mine'")
    mine = COPY.read_bytes()
    edit(LABS, 1, "x = 'theirs'")
    write(Path("labs/02_new.ipynb"), "# New")
    assert work.copy_missing() == [Path("work/02_new.ipynb")]
    assert COPY.read_bytes() == mine
    assert sorted(os.listdir("work")) == ["00_ranks.ipynb", "01_next.ipynb", "02_new.ipynb"]


def test_a_copy_is_the_chapter_with_what_jupyterlab_would_write_on_opening_it() -> None:
    """Its metadata then stay as they are when the kernel starts, and JupyterLab does not call the copy unsaved."""
    work.copy_missing()
    chapter, copy = nbformat.read(LABS, as_version=4), nbformat.read(COPY, as_version=4)
    nbformat.validate(copy)
    assert copy.cells == chapter.cells
    assert copy.metadata.language_info.version == ".".join(map(str, sys.version_info[:3]))
    assert copy.metadata.kernelspec.display_name == "Python 3 (ipykernel)"
    assert chapter.metadata == {"language_info": {"name": "python"}}


def test_copies_are_trusted_as_they_are_made_and_not_again() -> None:
    work.copy_missing()
    assert NotebookNotary().check_signature(nbformat.read(COPY, as_version=4))
    write(COPY, "# From elsewhere", "y = 3")
    work.copy_missing()
    assert not NotebookNotary().check_signature(nbformat.read(COPY, as_version=4))


def test_a_chapter_that_is_no_notebook_is_copied_and_named(capsys: pytest.CaptureFixture) -> None:
    Path("labs/02_broken.ipynb").write_text("{", encoding="utf-8")
    work.copy_missing()
    assert Path("work/02_broken.ipynb").read_text(encoding="utf-8") == "{"
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" cannot be read")[0] for line in said] == ["labs/02_broken.ipynb", "work/02_broken.ipynb"]
    assert lines_of("02_broken")[0].startswith("cannot be compared: JSONDecodeError")


def test_what_changed_in_the_chapter_is_listed_and_what_the_reader_changed_is_not() -> None:
    work.copy_missing()
    edit(COPY, 1, "x = 'mine'")
    assert lines_of("00_ranks") == []
    write(LABS, "# Ranks, rewritten", "x = 1", "z = 3\n" * 3, "w = 4")
    edit(LABS, 2, "\nz = 3\nz")
    assert lines_of("00_ranks") == [
        "changed  markdown a     # Ranks, rewritten",
        "changed  code     c     z = 3",
        "new      code     d     w = 4",
    ]
    edit(COPY, 0, "# Ranks, rewritten")
    assert len(lines_of("00_ranks")) == 2, "what the reader has taken over is no longer listed"
    write(LABS, "# Ranks, rewritten", "x = 1")
    assert lines_of("00_ranks") == ["removed  code     c     y = 2"]


def test_a_copy_made_by_hand_is_not_called_changed(capsys: pytest.CaptureFixture) -> None:
    work.copy_missing()
    write(COPY, "# Ranks, as I want them")
    assert dict(work.report()) == {"01_next": []}
    assert work.main([]) == 0
    assert capsys.readouterr().out == (
        "work/00_ranks.ipynb was copied by hand: what changed since is not known. --fresh 00_ranks makes a new one.\n"
        "1 of 1 copies hold all that labs/ has.\n"
    )
    launch.prepare()
    assert capsys.readouterr().err == ""


def test_a_fresh_copy_leaves_the_old_one_under_a_dated_name(capsys: pytest.CaptureFixture) -> None:
    today = datetime.date.today().isoformat()
    assert work.main([]) == 0
    assert "work/00_ranks.ipynb is new\n" in capsys.readouterr().out
    edit(COPY, 1, "x = 'mine'")
    edit(LABS, 1, "x = 'theirs'")
    assert work.main([]) == 0
    changed = "work/00_ranks.ipynb, changed in labs/ since you copied it:\n  changed  code     b     x = 'theirs'\n"
    assert capsys.readouterr().out == f"{changed}1 of 2 copies hold all that labs/ has.\n"
    for again in ("", "-2"):
        assert work.main(["--fresh", "work/00_ranks.ipynb"]) == 0
        kept = Path(f"work/00_ranks.{today}{again}.ipynb")
        said = f"work/00_ranks.ipynb is new, yours is {kept}\n2 of 2 copies hold all that labs/ has.\n"
        assert capsys.readouterr().out == said
        assert "mine" in kept.read_text(encoding="utf-8") or again
        assert "theirs" in COPY.read_text(encoding="utf-8")


def test_an_unknown_chapter_and_another_folder_are_one_sentence(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert work.main(["--fresh", "00_rank"]) == 2
    assert capsys.readouterr().err == "No chapter is called 00_rank: there are 00_ranks, 01_next.\n"
    monkeypatch.chdir("labs")
    assert work.main([]) == 2
    assert capsys.readouterr().err == "labs/00_ranks.ipynb is not here: run this in the folder of the repository.\n"


def test_git_ignores_copies_and_so_does_ruff() -> None:
    """In a new repository with the lab's rules: where the tests run, there may be none."""
    subprocess.run(["git", "init", "-q"], check=True)
    shutil.copy(ROOT / ".gitignore", ".")
    asked = ["work/00_ranks.ipynb", "work/mine.ipynb", "labs/00_ranks.ipynb", "docs/work/page.md"]
    ignored = subprocess.run(["git", "check-ignore", *asked], stdout=subprocess.PIPE, encoding="utf-8")
    assert ignored.stdout.split() == asked[:2]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "work" in settings["tool"]["ruff"]["extend-exclude"]


@pytest.mark.parametrize("path", sorted((ROOT / "labs").glob("*.ipynb")), ids=lambda path: path.stem)
def test_links_of_a_chapter_lead_there_from_its_copy_too(path: Path) -> None:
    """To another chapter, of which there is a copy as well, or out of the folder."""
    text = "".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
                   if cell["cell_type"] == "markdown")  # fmt: skip
    for target in re.findall(r"\]\((?!\w+:)([^)\s#]+\.\w+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).is_file()
        assert target.startswith("../") or (path.parent / target).suffix == ".ipynb"


def test_copies_as_the_chapters_are_signed_again_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were made under another HOME. One that was changed may hold anything."""
    work.copy_missing()
    signed: list[Path] = []
    monkeypatch.setattr(work, "trust", signed.extend)
    edit(COPY, 1, "x = 'mine'")
    assert work.copy_missing() == []
    assert signed == [Path("work/01_next.ipynb")]


def test_a_copy_that_cannot_be_read_is_told_of() -> None:
    COPY.mkdir(parents=True)
    (line,) = lines_of("00_ranks")
    assert line.startswith("cannot be compared: IsADirectoryError")
