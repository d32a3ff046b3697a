"""A user's module on the ranks: it lives there once, and is found where the notebook finds it."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest
from edited_files import run_cell, value

from lab_utils.ranks import RankError, Ranks

pytest_plugins = ["trainer_files"]
PACKAGE = {
    "__init__.py": "from . import part\n",
    "part.py": "calls = []\ndef call():\n    calls.append(1)\n    return 1\n",
}


# ------------------------------------------------------------------ once
def test_calls_cells_and_names_meet_one_module(ranks2: Ranks, trainer: types.ModuleType) -> None:
    assert ranks2.run(trainer.step) == [1, 1]
    assert ranks2.run(lambda: trainer.step()) == [2, 2]
    run_cell(ranks2, f"import {trainer.__name__} as t\nthird = t.step()")
    assert value(ranks2, "third") == [3, 3]
    assert ranks2.run(f"{trainer.__name__}.step") == [4, 4]
    assert ranks2.run(trainer.stepping(10)) == [14, 14]
    assert ranks2.run(functools.partial(functools.partial(trainer.step))) == [15, 15]
    assert ranks2.run(trainer.counter.count) == [1, 1] and ranks2.run(trainer.counter.count) == [2, 2]
    assert trainer.steps == trainer.counter.counted == 0


def test_what_comes_back_is_of_the_notebooks_own_class(ranks2: Ranks, trainer: types.ModuleType) -> None:
    model, mode = ranks2.run(lambda mode: (trainer.Base(), mode), trainer.Mode.TRAIN)[1]
    assert type(model) is trainer.Base and mode is trainer.Mode.TRAIN


def test_packages_with_relative_imports_and_without_an_init_file(ranks2: Ranks, folder: Path) -> None:
    for package in ("whole_package", "namespace_package/inner"):
        Path(folder, package).mkdir(parents=True)
        for name, text in PACKAGE.items():
            Path(folder, package, name).write_text(text, encoding="utf-8")
    import namespace_package.inner.part
    import whole_package.part

    assert ranks2.run(whole_package.part.call) == [1, 1]
    assert ranks2.run(lambda: (whole_package.part.call(), len(whole_package.part.calls))) == [(1, 2)] * 2
    assert ranks2.run(lambda: namespace_package.inner.part.call.__module__) == ["namespace_package.inner.part"] * 2


# ------------------------------------------------------------------ by value
def test_what_ranks_cannot_import_travels_by_value(
    ranks2: Ranks, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "offset = 3\ndef helper():\n    return offset\ndef call():\n    return helper()\n"
    Path(folder, "left_the_path.py").write_text(text, encoding="utf-8")
    by_hand = types.ModuleType("made_by_hand")
    spec = importlib.util.spec_from_file_location("of_a_file", Path(folder, "left_the_path.py"))
    of_a_file = importlib.util.module_from_spec(spec)
    for module in (by_hand, of_a_file):
        exec(text, vars(module))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    import left_the_path

    sys.path.remove(str(folder))
    for module in (left_the_path, by_hand, of_a_file):
        assert ranks2.run(module.call) == ranks2.run(lambda module=module: module.call()) == [3, 3]


def test_a_name_that_another_module_has_on_the_ranks_is_said(ranks2: Ranks, folder: Path) -> None:
    Path(folder, "name_taken.py").write_text("def call():\n    return 1\n", encoding="utf-8")
    ranks2.run(lambda: sys.modules.__setitem__("name_taken", types.ModuleType("name_taken")))
    import name_taken

    with pytest.raises(
        RankError, match=r"name_taken of the notebook is .*name_taken\.py, and this rank has one without a"
    ):
        ranks2.run(name_taken.call)


# ------------------------------------------------------------------ where modules are
def test_ranks_look_where_the_notebook_looks_and_a_cell_keeps_its_own(
    ranks2: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        Path(tmp_path, name).mkdir()
        Path(tmp_path, name, f"of_{name}.py").write_text("def call():\n    return __file__\n", encoding="utf-8")
    before = list(sys.path)
    run_cell(ranks2, "import sys\nsys.path.insert(0, '/of/the/cell')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, "here"])
    import of_here

    monkeypatch.chdir(Path(tmp_path, "there"))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    import of_there

    assert ranks2.run(of_here.call) == [str(Path(tmp_path, "here", "of_here.py"))] * 2
    assert ranks2.run(of_there.call) == [str(Path(tmp_path, "there", "of_there.py"))] * 2
    assert ranks2.run(os.getcwd) == [str(Path(tmp_path, "there"))] * 2
    monkeypatch.undo()
    assert ranks2.run(lambda: __import__("sys").path) == [["/of/the/cell", *before]] * 2
    run_cell(ranks2, "sys.path.remove('/of/the/cell')")
