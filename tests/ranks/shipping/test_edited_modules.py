"""A module that its user edits: the next call runs it as its file is, for all who hold something of it."""

from __future__ import annotations

import importlib
import os
import sys
import types
import zipfile
from pathlib import Path

import pytest
from edited_files import edit, run_cell, value

from lab_utils.ranks import RankError, Ranks

pytest_plugins = ["trainer_files"]


def said_by(ranks: Ranks, trainer: types.ModuleType) -> set[str]:
    """What the module's functions say, reached in all ways."""
    calls = [trainer.text, trainer.decorated, trainer.cached, trainer.undecorated, trainer.kept, trainer.Base().text]
    named = ["text", "decorated", "cached", "undecorated", "kept", "Own().text", *(f"held[{at}]" for at in range(5))]
    return {said for call in [*calls, lambda: trainer.text(), *named] for said in ranks.run(call)}


def test_an_edited_module_runs_as_its_file_is(
    ranks2: Ranks, trainer: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = f"import {trainer.__name__}\nfrom {trainer.__name__} import *\nclass Own(Base): pass\n"
    run_cell(
        ranks2, cell + "mine = counter; held, mode = [text, decorated, cached, Base().text, Own().text], Mode.TRAIN"
    )
    assert said_by(ranks2, trainer) == {"first"} and ranks2.run(trainer.step) == [1, 1]
    edit(trainer, '"first"', '"other"')
    edit(trainer, "        pass", "        super().__init__()")  # which gives the function a closure
    capsys.readouterr()
    assert said_by(ranks2, trainer) == {"other"}
    assert ranks2.run(trainer.step) == [2, 2] and value(ranks2, f"mine is {trainer.__name__}.counter") == [True, True]
    assert value(ranks2, "(mode is Mode.TRAIN, isinstance(Own(), Base))") == [(True, True)] * 2
    name = trainer.__name__
    assert capsys.readouterr().err == (
        f"{name}.py has changed since this notebook imported it: the ranks run the file as it is now; "
        f"importlib.reload({name}) reloads it here\n"
    )
    importlib.reload(trainer)
    assert ranks2.run(trainer.text) == ["other"] * 2 and capsys.readouterr().err == ""


def test_who_imports_from_an_edited_module_has_its_new_values(ranks2: Ranks, trainer: types.ModuleType) -> None:
    assert ranks2.run(trainer.helpers) == [(1, 2, "first")] * 2
    helpers = sys.modules[f"helpers_{trainer.__name__}"]
    edit(helpers, "RATE = 1", "RATE = 2")
    edit(helpers, "'first'", "'other'")
    assert ranks2.run(trainer.helpers) == [(2, 4, "other")] * 2


def test_a_file_that_fails_is_said_and_tried_again(
    ranks2: Ranks, trainer: types.ModuleType, capsys: pytest.CaptureFixture
) -> None:
    assert ranks2.run(trainer.step) == [1, 1]
    edit(trainer, "def text():", "def text(:")
    line = Path(trainer.__file__).read_text(encoding="utf-8").splitlines().index("def text(:") + 1
    with pytest.raises(RankError, match="raised SyntaxError: invalid syntax") as failed:
        ranks2.run(lambda: 1)
    assert f"{trainer.__file__}:{line} in <module>" in failed.value.details
    capsys.readouterr()
    for _ in range(2):  # old until it is mended, and said to be so each time
        assert ranks2.run(lambda: 1) == [1, 1]
        said = capsys.readouterr().err
        assert said.startswith(f"ranks 0-1: {trainer.__name__}.py has changed and could not be reloaded (SyntaxError: ")
        assert said.endswith("): this rank still has the code of before\n")
    with pytest.raises(RankError, match="raised SyntaxError: invalid syntax"):
        ranks2.run(trainer.text)
    edit(trainer, "def text(:", "raise OSError('as it runs')\ndef text():")
    with pytest.raises(RankError, match="raised OSError: as it runs"):
        ranks2.run(lambda: 1)
    assert ranks2.run(f"{trainer.__name__}.step") == [2, 2]  # it holds what it held
    edit(trainer, "raise OSError('as it runs')\n", "")
    assert ranks2.run(trainer.text) == ["first"] * 2
    capsys.readouterr()
    assert ranks2.run(lambda: 1) == [1, 1] and capsys.readouterr().err == ""


def test_a_second_edit_of_the_same_size_and_second(ranks2: Ranks, folder: Path) -> None:
    """A .pyc from the first would pass for the second's."""
    file = Path(folder, "same_second.py")
    for at in range(3):
        file.write_text(f"def call():\n    return {at}\n", encoding="utf-8")
        os.utime(file, ns=(10**18 + at, 10**18 + at))
        import same_second

        assert ranks2.run(same_second.call) == [at, at]


def test_zip_files(ranks2: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("first", "the second"):
        with zipfile.ZipFile(Path(tmp_path, "own.zip"), "w") as archive:
            archive.writestr("in_a_zip.py", f"def call():\n    return {text!r}\n")
        monkeypatch.syspath_prepend(str(Path(tmp_path, "own.zip")))
        import in_a_zip

        assert ranks2.run(in_a_zip.call) == [text] * 2
    del sys.modules["in_a_zip"]
