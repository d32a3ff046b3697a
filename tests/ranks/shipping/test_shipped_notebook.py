"""In a real kernel: modules that are edited between cells, classes that are defined again, and what stands beside."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from kernels import run_notebook

ROOT = Path(__file__).parents[3]
WRITE = "%%writefile -a own_trainer.py\n"
FIRST = "steps = 0\ndef step():\n    global steps\n    steps += 1\n    return steps"
AGAIN = "def step():\n    return 'edited'"
DECORATED = """import functools, enum
@functools.lru_cache
def cached(n): return n + 1
@functools.singledispatch
def kind(x): return "any"
@kind.register
def _(x: int): return "int"
class Color(enum.Enum): RED = 1
def helper(): return "first"
class Model:
    made = 0
    @functools.cached_property
    def said(self): return helper()
    def __init__(self): Model.made += 1
    def __call__(self, color): return color is Color.RED
print(ranks.run(cached, 4), ranks.run(kind, 1), ranks.run(Model(), Color.RED))
print(ranks.run(lambda: Color.RED)[0] is Color.RED)"""
CLASSES = """(model, _), helper = ranks.run(Model), lambda: "second"
print(type(model) is Model, Model.made, Model().said, ranks.run(lambda: Model().said))
class Model:
    pass
print(type(ranks.run(Model)[0]) is Model)"""
CELLS = {
    "start": "from lab_utils import start_ranks\nranks = start_ranks(2)",
    "write": WRITE.replace("-a ", "") + FIRST,
    "call": "import own_trainer\nprint(ranks.run(own_trainer.step), ranks.run(lambda: own_trainer.step()))",
    "cell": "%%ranks\nimport own_trainer\nfrom own_trainer import step\nown_trainer.step(), step()",
    "name": 'print(ranks.run("own_trainer.step"))',
    "edit": WRITE + AGAIN,
    "edited cell": "%%ranks\nstep()",
    "edited": "print(ranks.run(own_trainer.step), ranks.run(lambda: own_trainer.step()), own_trainer.step())",
    "decorated": DECORATED,
    "classes": CLASSES,
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """{cell: {stream: text}}"""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS.values()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        run_notebook(node, tmp_path_factory.mktemp("notebook"), timeout_s=600)
    return {name: _streams(cell) for name, cell in zip(CELLS, node.cells, strict=True)}


def _streams(cell: nbformat.NotebookNode) -> dict[str, str]:
    """A kernel may say in two parts what a cell prints."""
    names = sorted({output.name for output in cell.outputs})
    return {name: "".join(output.text for output in cell.outputs if output.name == name) for name in names}


def test_calls_cells_and_names_meet_one_module(said: dict) -> None:
    assert [said[name]["stdout"] for name in ("call", "cell", "name")] == [
        "[1, 1] [2, 2]\n",
        "ranks 0-1: (3, 4)\n",
        "[5, 5]\n",
    ]


def test_an_edit_reaches_names_on_the_ranks_and_the_notebook_is_told_once(said: dict) -> None:
    assert said["edited cell"] == {
        "stdout": "ranks 0-1: 'edited'\n",
        "stderr": "own_trainer.py has changed since this notebook imported it: the ranks run the file as it is now; "
        "importlib.reload(own_trainer) reloads it here\n",
    }
    assert said["edited"] == {"stdout": "['edited', 'edited'] ['edited', 'edited'] 1\n"}


def test_what_the_notebook_decorates_and_defines_again(said: dict) -> None:
    assert said["decorated"]["stdout"] == "[5, 5] ['int', 'int'] [True, True]\nTrue\n"
    assert said["classes"]["stdout"] == "True 1 second ['second', 'second']\nTrue\n"
