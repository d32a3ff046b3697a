"""A user's module on the ranks: it lives there once, follows its file, and is found where the notebook finds it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_utils.ranks import RankError, Ranks, on_rank
from lab_utils.ranks.naming import Cell
from lab_utils.ranks.surroundings import surroundings

TRAINER = """
import enum, functools, threading
from own_helpers import RATE, helped
class Mode(enum.Enum): TRAIN = 1
_lock, steps = threading.Lock(), 0
def announced(function):
    @functools.wraps(function)
    def inner(*args): return function(*args)
    return inner
def step():
    global steps
    with _lock:
        steps += 1
    return steps
def text():
    return "first"
@announced
def decorated(): return "first"
@functools.lru_cache
def cached(): return "first"
class Base:
    def __init__(self):
        pass
    def text(self):
        return "first"
def stepping(by):
    def more():
        global steps
        steps += by
        return steps
    return more
def helpers():
    return RATE, helped()
"""
HELPERS = "RATE = 1\ndef helped():\n    return 'first'\n"
PACKAGE = {
    "__init__.py": "from . import part\n",
    "part.py": "calls = []\ndef call():\n    calls.append(1)\n    return 1\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules on the path; each test has names of its own, so that none meets another's."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.fixture
def trainer(folder: Path, request: pytest.FixtureRequest) -> types.ModuleType:
    own = f"of_{request.node.name}"
    Path(folder, f"helpers_{own}.py").write_text(HELPERS, encoding="utf-8")
    Path(folder, f"{own}.py").write_text(TRAINER.replace("own_helpers", f"helpers_{own}"), encoding="utf-8")
    return importlib.import_module(own)


def edit(module: types.ModuleType, before: str, after: str) -> None:
    file = Path(module.__file__)
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def run_cell(ranks: Ranks, source: str) -> list[str]:
    """What a `%%ranks` cell prints."""
    cell = Cell("<cell>", "In [1]", source)
    return [each.stdout.strip() for each in ranks.call(on_rank.run_cell, cell, False, True, surroundings())]


# ------------------------------------------------------------------ once
def test_calls_cells_and_names_meet_one_module(ranks2: Ranks, trainer: types.ModuleType) -> None:
    assert ranks2.run(trainer.step) == [1, 1]
    assert ranks2.run(lambda: trainer.step()) == [2, 2]
    assert run_cell(ranks2, f"import {trainer.__name__} as t\nt.step()") == ["3", "3"]
    assert ranks2.run(f"{trainer.__name__}.step") == [4, 4]
    assert ranks2.run(trainer.stepping(10)) == [14, 14]
    assert ranks2.run(functools.partial(functools.partial(trainer.step))) == [15, 15]
    assert trainer.steps == 0


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
    Path(folder, "cProfile.py").write_text("def call():\n    return 1\n", encoding="utf-8")
    ranks2.run(lambda: sys.modules.setdefault("cProfile", types.ModuleType("cProfile")) and None)
    sys.modules.pop("cProfile", None)
    import cProfile

    with pytest.raises(RankError, match=r"the module cProfile is .*cProfile\.py in the notebook, and .* on this rank"):
        ranks2.run(cProfile.call)


# ------------------------------------------------------------------ edited
def said_by(ranks: Ranks, trainer: types.ModuleType) -> set[str]:
    """What the module's functions say, reached in all ways."""
    calls = [trainer.text, trainer.decorated, trainer.cached, lambda: trainer.text(), trainer.Base().text]
    named = ["text", "decorated", "cached", "Own().text", *(f"held[{at}]" for at in range(5))]
    return {said for call in [*calls, *named] for said in ranks.run(call)}


def test_an_edited_module_runs_as_its_file_is(
    ranks2: Ranks, trainer: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = f"from {trainer.__name__} import *\nclass Own(Base): pass\n"
    run_cell(ranks2, cell + "held, mode = [text, decorated, cached, Base().text, Own().text], Mode.TRAIN")
    assert said_by(ranks2, trainer) == {"first"}
    edit(trainer, '"first"', '"other"')
    edit(trainer, "        pass", "        super().__init__()")  # which gives the function a closure
    capsys.readouterr()
    assert said_by(ranks2, trainer) == {"other"}
    assert run_cell(ranks2, "mode is Mode.TRAIN, isinstance(Own(), Base)") == ["(True, True)"] * 2
    name = trainer.__name__
    assert capsys.readouterr().err == (
        f"{name}.py has changed since this notebook imported it: the ranks run it as it is now, its variables new; "
        f"importlib.reload({name}) loads it again here\n"
    )
    importlib.reload(trainer)
    assert ranks2.run(trainer.text) == ["other"] * 2 and capsys.readouterr().err == ""


def test_who_imports_from_an_edited_module_has_its_new_values(ranks2: Ranks, trainer: types.ModuleType) -> None:
    assert ranks2.run(trainer.helpers) == [(1, "first")] * 2
    helpers = sys.modules[f"helpers_{trainer.__name__}"]
    edit(helpers, "RATE = 1", "RATE = 2")
    edit(helpers, "'first'", "'other'")
    assert ranks2.run(trainer.helpers) == [(2, "other")] * 2


def test_a_file_that_fails_is_said_and_tried_again(ranks2: Ranks, trainer: types.ModuleType) -> None:
    assert ranks2.run(trainer.step) == [1, 1]
    edit(trainer, "def text():", "def text(:")
    line = Path(trainer.__file__).read_text(encoding="utf-8").splitlines().index("def text(:") + 1
    with pytest.raises(RankError, match="raised SyntaxError: invalid syntax") as failed:
        ranks2.run(lambda: 1)
    assert f"{trainer.__file__}:{line} in <module>" in failed.value.details
    assert ranks2.run(lambda: 1) == [1, 1]
    with pytest.raises(RankError, match="raised SyntaxError: invalid syntax"):
        ranks2.run(trainer.text)
    edit(trainer, "def text(:", "raise OSError('as it runs')\ndef text():")
    with pytest.raises(RankError, match="raised OSError: as it runs"):
        ranks2.run(lambda: 1)
    assert ranks2.run(f"{trainer.__name__}.step") == [2, 2]  # it holds what it held
    edit(trainer, "raise OSError('as it runs')\n", "")
    assert ranks2.run(trainer.text) == ["first"] * 2


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
