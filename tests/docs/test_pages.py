"""Every example of README.md and docs/ runs as it stands and prints what the page says; commands and links are real."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import kept_ranks
import pages
import pytest
from kernels import run_notebook
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from pictures import PICTURES

from lab_utils.__main__ import COMMANDS

ROOT, IMAGES = pages.ROOT, pages.ROOT / "docs/images"
WITH_EXAMPLES = [page for page in pages.PAGES if pages.cells(page)]
SHARING = [page for page in WITH_EXAMPLES if any(kept_ranks.START in code for _, code in pages.cells(page))]
BEGIN = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n{kept_ranks.BEGIN}"
MOST_LINES = 115  # of the README, tables and code included
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(#[^)\s]*)?\)")


def said(cell: NotebookNode) -> str:
    """All text of a cell's outputs; an error as its name and its message."""
    texts = [
        f"{output.ename}: {output.evalue}" if output.output_type == "error"
        else output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]  # fmt: skip
    return plain("\n".join(texts))


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())


def test_some_pages_have_examples() -> None:
    assert {"README.md", "ranks.md", "record.md", "stuck.md", "timelines.md", "widgets.md"} <= {
        page.name for page in WITH_EXAMPLES
    }


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, NotebookNode]:
    """The pages that start four ranks, run one after the other on the same ones: each start takes four seconds."""
    nodes = {page: pages.notebook(page) for page in SHARING}
    whole, hidden = pages.notebook(SHARING[0]), [new_code_cell(BEGIN)]
    whole.cells = [*hidden]
    for node in nodes.values():
        hidden.append(new_code_cell(kept_ranks.BETWEEN))
        whole.cells += [*node.cells, hidden[-1]]
    run_notebook(whole, tmp_path_factory.mktemp("pages"), timeout_s=300, allow_errors=True)
    assert [cell.outputs for cell in hidden] == [[]] * len(hidden)
    return nodes


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_examples_run_as_they_stand(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if page in SHARING:
        node = request.getfixturevalue("sharing")[page]
    else:
        run_notebook(node := pages.notebook(page), tmp_path, timeout_s=300, allow_errors=True)
    for (example, _), cell in zip(pages.cells(page), node.cells, strict=True):
        got = said(cell)
        assert any(output.output_type == "error" for output in cell.outputs) == example.raises, f"{cell.source}\n{got}"
        if example.shown:
            shown = ".*".join(map(re.escape, plain(example.shown).split("…")))
            assert re.search(shown, got), f"{cell.source}\n{got}"


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_no_block_escapes_the_tests(page: Path) -> None:
    assert {example.language for example in pages.examples(page)} <= {"python", "sh", "text"}


@cache
def options_of(*command: str) -> set[str]:
    said = subprocess.check_output([sys.executable, "-m", *command, "--help"], cwd=ROOT, encoding="utf-8")
    return set(re.findall(r"--[\w-]+", said))


@cache
def makefile() -> tuple[set[str], set[str]]:
    """Return its targets, and the variables that it reads."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)), set(re.findall(r"\$\((\w+)\)", text))


def wrong(words: list[str]) -> str:
    """What is wrong with a command, "" when nothing is."""
    own = words[: words.index("--")] if "--" in words else words
    options = {word.partition("=")[0] for word in own if word.startswith("--")}
    match words:
        case ["git", "clone", _, "parallel-training-lab"] | ["cd", "parallel-training-lab" | "work"]:
            return ""
        case [".", ".venv/bin/activate"] | ["conda", "activate", "parallel-training-lab"]:
            return ""
        case ["make", *given]:
            targets, variables = makefile()
            named = [(word, *word.partition("=")[:2]) for word in given]
            return " ".join(word for word, name, sign in named if name not in (variables if sign else targets))
        case ["python", "-m", "lab_utils", name, *_] if name in COMMANDS:
            return " ".join(options - options_of("lab_utils", name))
        case ["torchrun", "--nproc-per-node", _, "-m", module, *_]:
            return " ".join(options - {"--nproc-per-node"} - options_of(module))
        case ["conda", "env", "create", "-f", file] | ["jupyter", "nbconvert", "--to", "html", file]:
            here = ROOT / file.replace("work/", "labs/")
            return "" if here.is_file() else file
        case ["pip", "install", "-e", "."]:
            return ""
    return f"unknown command: {' '.join(words)}"


def test_commands_are_real() -> None:
    found = list(pages.commands())
    assert len(found) > 20
    assert [(page.name, complaint) for page, words in found if (complaint := wrong(words))] == []


@pytest.mark.parametrize(
    "command",
    ["make paint", "make lab COLOUR=1", "make lab LAB=1", "make awk", "python -m lab_utils work --again",
     "python -m lab_utils work --fres 00_ranks", "python -m lab_utils paint", "pip install lab", "cd lab",
     "torchrun --nproc-per-node 4 -m lab_utils.strategies.recipe --epochs 3", "conda activate lab", "git clone lab",
     "torchrun --nproc-per-node 4 -m lab_utils.strategies.recipe --step 3"],
)  # fmt: skip
def test_a_wrong_command_is_caught(command: str) -> None:
    assert wrong(command.split())


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for to, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / to if to else page
        assert target.exists(), f"{to} is not there"
        assert not anchor or anchor in anchors(target), f"{to} has no heading {anchor}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {ROOT / to for to, _ in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert [page.name for page in pages.PAGES[1:] if page not in linked] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_pictures_are_those_that_the_command_makes_and_pages_show() -> None:
    shown = [page.parent / to for page in pages.PAGES for to, _ in LINK.findall(page.read_text(encoding="utf-8"))
             if to.endswith(".png")]  # fmt: skip
    assert sorted(shown) == sorted(IMAGES.iterdir()) == sorted(IMAGES / f"{name}.png" for name in PICTURES)
