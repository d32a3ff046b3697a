"""The repository keeps its own rules; each rule is also shown to catch what it is there for."""

from __future__ import annotations

import ast
import copy
import importlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import hygiene_rules as rules
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "labs").glob("*.ipynb"))
LIBRARY = sorted((ROOT / "lab_utils").rglob("*.py"))
PYTHON_FILES = [*LIBRARY, *sorted((ROOT / "tests").rglob("*.py"))]
MOST_IN_NINE_OF_TEN = 35
FOLDERS = "labs lab_utils tests docs binder .ci".split()
MADE = {"__pycache__", ".ipynb_checkpoints"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def ruff_names(program: str) -> subprocess.CompletedProcess[str]:
    """Undefined and unused names of a program, by ruff's F rules."""
    line = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "F",
        "--output-format",
        "concise",
    ]
    return subprocess.run(
        [*line, "--stdin-filename", "ranks.py", "-"], input=program, encoding="utf-8", capture_output=True
    )


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS, "labs/ holds no notebook, so the rules below would check nothing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)
def test_notebook(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert list(rules.notebook_complaints(notebook)) == []
    assert path.stat().st_size < rules.MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)
def test_names_in_ranks_cells(path: Path) -> None:
    checked = ruff_names(rules.ranks_program(json.loads(path.read_text(encoding="utf-8"))))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def complaints(rule: Callable[[str, Path], Iterable[str]], paths: Iterable[Path]) -> dict[str, list[str]]:
    """Return file: what the rule says of its text. One test for all: a thousand would take ten seconds."""
    said = {relative(path): list(rule(path.read_text(encoding="utf-8"), path)) for path in paths}
    assert said, "the rule was asked of no file"
    return {file: each for file, each in said.items() if each}


def test_code() -> None:
    both = complaints(lambda text, _: [*rules.code_complaints(text), *rules.encoding_complaints(text)], PYTHON_FILES)
    assert both == {}


def test_catalogues() -> None:
    catalogues = [path for path in LIBRARY if path.name.startswith("words")]
    assert complaints(lambda text, _: rules.catalogue_complaints(text), catalogues) == {}


def test_widgets_take_the_sentences_of_errors_from_catalogues() -> None:
    widgets = [path for path in LIBRARY if "widgets" in path.parts]
    assert complaints(lambda text, _: rules.sentence_complaints(text), widgets) == {}


def dotted(path: Path) -> str:
    return ".".join((path.parent if path.name == "__init__.py" else path.with_suffix("")).relative_to(ROOT).parts)


def test_imports_point_down() -> None:
    def of(text: str, path: Path) -> Iterable[str]:
        return rules.import_complaints(text, dotted(path), path.name == "__init__.py")

    assert complaints(of, LIBRARY) == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    texts = {dotted(path): path.read_text(encoding="utf-8") for path in LIBRARY}
    assert rules.circles(texts, {dotted(path) for path in LIBRARY if path.name == "__init__.py"}) == []


@pytest.mark.parametrize(
    ("texts", "circle"),
    [
        ({"a.x": "from a.y import f", "a.y": "def f():\n    from a import x"}, ["a.x", "a.y"]),
        ({"a.x": "if TYPE_CHECKING:\n    from a.y import Y", "a.y": "import a.x"}, ["a.x", "a.y"]),
        ({"a": "from .x import f", "a.x": "from a import g"}, ["a", "a.x"]),
    ],
)
def test_a_circle_is_caught(texts: dict[str, str], circle: list[str]) -> None:
    assert rules.circles(texts, {"a"}) == [circle]


def test_a_tree_is_no_circle() -> None:
    assert rules.circles({"a": "from a.x import f", "a.x": "from a.y import f", "a.y": "import os"}, {"a"}) == []


@pytest.mark.parametrize("package", ["comm", "render", "widgets", "strategies.data", "strategies.pipeline"])
def test_names_of_a_package_are_no_modules_in_it(package: str) -> None:
    """An imported module is its package's attribute: a name that is the same would be the module from then on."""
    names = set(importlib.import_module(f"lab_utils.{package}").__all__)
    folder = ROOT / "lab_utils" / package.replace(".", "/")
    assert names and names & {path.stem for path in folder.iterdir()} == set()


def test_folders_are_small() -> None:
    folders = {path.parent for room in ("lab_utils", "tests") for path in (ROOT / room).rglob("*") if path.is_file()}
    sizes = {
        relative(folder): sum(file.is_file() and file.name != "__init__.py" for file in folder.iterdir())
        for folder in folders if not MADE & set(folder.relative_to(ROOT).parts)
    }  # fmt: skip
    assert {folder: size for folder, size in sizes.items() if size > rules.MOST_FOLDER_FILES} == {}


def test_functions_are_short() -> None:
    lengths = [n for path in LIBRARY for _, n in rules.functions(ast.parse(path.read_text(encoding="utf-8")))]
    nine_of_ten = statistics.quantiles(lengths, n=10)[-1]
    assert nine_of_ten <= MOST_IN_NINE_OF_TEN, f"one function in ten is longer than {nine_of_ten:g} lines"
    assert statistics.median(lengths) <= 13


def test_no_large_file() -> None:
    """Found without git, whose answer depends on who owns the checkout, and whether it is one."""
    files = [*ROOT.iterdir(), *(file for room in FOLDERS for file in (ROOT / room).rglob("*"))]
    kept = [file for file in files if file.is_file() and not MADE & set(file.relative_to(ROOT).parts)]
    assert len(kept) > 500
    assert [relative(file) for file in kept if file.stat().st_size > rules.MOST_BYTES] == []


def test_the_package_leaves_torch_unloaded() -> None:
    """The notebook's own kernel imports these, and torch in it would cost 200 MB."""
    rooms = [room for room in [*sorted(rules.PURE_ROOMS), "ranks", "widgets", "exercises"] if _exists(room)]
    names = ", ".join(["lab_utils", *(f"lab_utils.{room}" for room in rooms)])
    program = f"import sys, {names}; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, encoding="utf-8") == "False\n"


def _exists(room: str) -> bool:
    return (ROOT / "lab_utils" / room / "__init__.py").exists()


GOOD = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "# Ranks"},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "4\n"}],
            "source": ["%%ranks\n", "import math\n", "print(math.sqrt(16))"],
        },
    ]
}
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}
LIVE = {"output_type": "display_data", "data": {rules.LIVE: {"model_id": "1"}, "text/plain": "words"}}
OWN_PATH = {"output_type": "stream", "name": "stdout", "text": "/home/ann/lab/trace.json"}


def test_a_good_notebook_passes() -> None:
    assert list(rules.notebook_complaints(GOOD)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"execution_count": None}, "execution counts are [None]"),
        ({"execution_count": 2}, "not 1..1"),
        ({"outputs": []}, "no outputs are stored"),
        ({"outputs": []}, "prints, but no output is stored"),
        ({"outputs": [ERROR]}, "a stored error"),
        ({"outputs": [LIVE]}, "a widget is stored, whose model went"),
        ({"outputs": [OWN_PATH]}, "a path of the author's machine"),
        ({"metadata": {"tags": ["raises-exception"]}}, "a stored error"),
        ({"metadata": {"tags": ["skip"]}}, "unknown tags ['skip']"),
        ({"metadata": {"tags": ["nbval-ignore-output"]}}, "go together, found None"),
        ({"metadata": {"lab": {"why_ignored": "timings"}}}, "go together, found 'timings'"),
        ({"source": "x = 1\n" * 5}, "the median code cell has 5 lines"),
        ({"source": "x = 1\n" * 13}, "code cell 1 has 13 lines"),
    ],
)
def test_a_bad_notebook_is_caught(change: dict, complaint: str) -> None:
    notebook = copy.deepcopy(GOOD)
    notebook["cells"][1].update(change)
    assert complaint in "\n".join(rules.notebook_complaints(notebook))


def test_a_long_notebook_is_caught() -> None:
    notebook = {"cells": [*GOOD["cells"], *GOOD["cells"][:1] * 89]}
    assert list(rules.notebook_complaints(notebook)) == ["has 91 cells, at most 90 are wanted"]


def test_an_undefined_name_in_a_ranks_cell_is_caught() -> None:
    notebook = copy.deepcopy(GOOD)
    assert ruff_names(rules.ranks_program(notebook)).returncode == 0
    notebook["cells"][1]["source"] = "%%ranks\nprint(math.sqrt(16))"
    assert "F821" in ruff_names(rules.ranks_program(notebook)).stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n" * 401, "has 401 lines"),
        ("def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
        ("try:\n    f()\nexcept OSError:\n    pass\n", "line 3 swallows"),
        ("try:\n    f()\nexcept OSError:\n    ...\n", "line 3 swallows"),
        ("try:\n    f()\nexcept:\n    raise\n", "line 3 catches everything"),
    ],
)
def test_bad_code_is_caught(text: str, complaint: str) -> None:
    assert complaint in "\n".join(rules.code_complaints(text))


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("def title(n):\n    return 'many'", ["line 1 is logic (FunctionDef)"]),
        ("class Goal:\n    title = 'one' if SHORT else 'two'", ["line 2 is logic (IfExp)"]),
        ("TITLE = f'{NAME} of ranks'", ["line 1 is logic (JoinedStr)", "line 1 is logic (FormattedValue)"]),
        ("TITLE = 'a {}'.format(NAME)", ["line 1 is logic (Call)"]),
        ("for name in NAMES:\n    TITLE = name", ["line 1 is logic (For)"]),
        ("from a import B\nclass Goal(B):\n    'Words.'\n    titles: dict[str, int] = {'a': ('b' + B.c), **B.d}", []),
    ],
)
def test_logic_in_a_catalogue_is_caught(text: str, caught: list[str]) -> None:
    assert [said.partition(":")[0] for said in rules.catalogue_complaints(text)] == caught


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("raise ValueError('no rank')", True),
        ("raise TraitError(f'no rank {rank}')", True),
        ("raise ValueError(words.NO_RANK)", False),
        ("raise ValueError(words.NO_RANK.format(rank=rank, known=', '.join(known)))", False),
        ("raise", False),
    ],
)
def test_an_error_sentence_outside_of_a_catalogue_is_caught(line: str, caught: bool) -> None:
    assert bool(list(rules.sentence_complaints(line))) is caught


@pytest.mark.parametrize(
    ("call", "caught"),
    [
        ("open(path)", True),
        ("path.open('a')", True),
        ("path.read_text(errors='replace')", True),
        ("subprocess.run(line, text=True)", True),
        ("TemporaryFile('w+')", True),
        ("open(path, 'rb')", False),
        ("path.open(mode='r+b')", False),
        ("path.read_text(encoding='utf-8')", False),
        ("subprocess.run(line, encoding='utf-8')", False),
        ("TemporaryFile()", False),
        ("os.open(path, os.O_RDONLY)", False),
    ],
)
def test_text_without_an_encoding_is_caught(call: str, caught: bool) -> None:
    assert bool(list(rules.encoding_complaints(call))) is caught


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        ("lab_utils.timeline.trace", "def f():\n    import torch", "timeline is pure and imports torch"),
        ("lab_utils.timeline.trace", "from torch.nn import Module", "timeline is pure and imports torch"),
        ("lab_utils.timeline.trace", "from ..render import svg", "timeline imports render"),
        ("lab_utils.corpus.text", "from lab_utils.gpt import GPT", "corpus is pure and imports gpt"),
        ("lab_utils.comm.algorithms.ring", "import lab_utils.ranks.engines", "comm imports ranks"),
        ("lab_utils.comm.algorithms.ring", "from lab_utils import ranks", "comm imports ranks"),
        ("lab_utils.comm.algorithms.ring", "from lab_utils import start_ranks", "comm imports lab_utils"),
        ("lab_utils.widgets.view", "import ipyparallel as ipp", "only ranks imports ipyparallel"),
        ("lab_utils.exercises.ch00.judge", "import torch", "of exercises only on_ranks*.py imports torch"),
        ("lab_utils.helpers", "", "helpers is not a room"),
    ],
)
def test_a_bad_import_is_caught(module: str, text: str, complaint: str) -> None:
    assert complaint in "\n".join(rules.import_complaints(text, module, is_package=False))


def test_good_imports_pass() -> None:
    text = "import torch\nfrom . import ring\nfrom ..timeline import Trace\nfrom lab_utils.timeline import Op\n"
    assert list(rules.import_complaints(text, "lab_utils.comm.process_group.group", is_package=False)) == []
    assert list(rules.import_complaints("from .ranks import start_ranks", "lab_utils", is_package=True)) == []
