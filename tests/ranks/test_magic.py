"""`%%ranks` in a real kernel: a notebook is run from top to bottom, then its outputs are looked at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from kernels import run_notebook

from lab_utils.ranks import magic

ROOT = Path(__file__).parents[2]
REPETITIONS = 10
LOOK = "from lab_utils import start_ranks\nimport sys\n{'torch', 'ipyparallel', 'ipywidgets'} & sys.modules.keys()"
EARLY = "%%ranks\nrank  # nobody is there yet"
START = "ranks = start_ranks(4)"
IMPORT = "%%ranks\nimport torch\nimport torch.distributed as dist\nrank = dist.get_rank()"
SPEAK = """%%ranks
print("hello from", rank)
for step in range(3):
    dist.barrier()
    print("step", step)
print("sum of ranks")"""
DEFINE = """%%ranks
def total(x):
    dist.all_reduce(x)
    return x"""
FAIL = """%%ranks
x = torch.ones(2)
if rank == 2:
    raise ValueError("bad batch")
total(x)"""


class Notebook:
    """A notebook that has been run; cells are found by their text."""

    def __init__(self, cells: list[str]):
        node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        run_notebook(node, ROOT, timeout_s=600, allow_errors=True)
        self.cells = node.cells
        for cell in self.cells:  # a cell that takes long, as any may on a busy machine, leaves an empty display
            cell.outputs = [each for each in cell.outputs if each.output_type != "display_data" or each.data]

    def runs(self, source: str) -> list[nbformat.NotebookNode]:
        found = [cell for cell in self.cells if cell.source == source]
        assert found, f"no cell {source!r}"
        return found

    def outputs(self, source: str) -> list[nbformat.NotebookNode]:
        (cell,) = self.runs(source)
        return cell.outputs

    def said(self, source: str) -> str:
        """What the cell printed, and nothing else came out of it."""
        (output,) = self.outputs(source)
        assert output.name == "stdout", output
        return output.text

    def error(self, source: str) -> str:
        (output,) = self.outputs(source)
        assert output.output_type == "error", output
        return "\n".join(output.traceback)

    def usage(self, source: str) -> str:
        (output,) = self.outputs(source)
        assert output.name == "stderr", output
        return output.text


VALUE = "%%ranks\ntotal(torch.ones(2) * rank)"
VALUES = "%%ranks\nrank * 10"
SILENT = "%%ranks\nrank * 11;"
NONE = "%%ranks\nNone"
EMPTY = "%%ranks\n# nothing yet"
ON_TWO = "%%ranks --on 0,2  # and nobody else\nrank"
RECORD = "%%ranks --record trace\ntotal(torch.ones(2)).sum().item()"
UNCOUNTED = "%%ranks --record plain --no-count\ntotal(torch.ones(2)).sum().item();"
KERNELS = "[sum(op.kernels for op in t) > 0 for t in (trace, plain)]"
RECORDED = "[op.name for op in trace if op.kind == 'collective'], trace.world_size, trace.timeline().makespan_s > 0"
DEFINE_TWICE = "%%ranks\ndef twice():\n    return total(2 * torch.ones(1))"
BY_NAME = 'ranks.run("twice")'
LOCAL = "def scaled(by):\n    return rank * by\nranks.run(scaled, 2)"
RAISE_LOCAL = "def broken():\n    return 1 / 0\nranks.run(broken)"
QUOTE = """def quoted():
    import inspect, traceback
    try:
        1 / 0  # here
    except ZeroDivisionError:
        print("1 / 0  # here" in traceback.format_exc(), inspect.getsource(quoted).count("# here"))
ranks.run(quoted);"""
QUOTE_ON_RANKS = QUOTE.replace("def quoted", "%%ranks\ndef quoted").replace("ranks.run(quoted);", "quoted()")
SYNTAX = "%%ranks\nx = 1\nif rank\n    pass"
WARN = '%%ranks\nimport sys\nprint("careful", file=sys.stderr)'
PX = "%%px --no-stream\nfrom_px = rank + 100"
AFTER_PX = "%%ranks\nfrom_px"
WRONG_RANKS = {
    "%%ranks --on 4\n1": "--on 4: the ranks are 0 to 3",
    "%%ranks --on one\n1": "--on one: write ranks as 0 or 0,2",
    "%%ranks --on 0 --record t\n1": "--record needs every rank: leave --on away",
    "%%ranks --no-count\n1": "--no-count needs --record NAME: nothing is counted without it",
}
HIDDEN = "rank + 1"
HERE = "only_here = 0.1"
ASKED_FOR = "%%ranks\nonly_here * 2"
NO_RANK = 'raise ValueError("Default process group has not been initialized, please make sure to call ...")'
LIGHT = "import sys; 'torch' in sys.modules"
RUN_STOPPED = "ranks.run(len, [])"
STOPPED = "%%ranks\nrank  # nobody is there"


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    cells = [LOOK, EARLY, START, IMPORT, *[SPEAK] * REPETITIONS, DEFINE, VALUE, VALUES, SILENT, NONE, EMPTY, ON_TWO]
    cells += [RECORD, UNCOUNTED, KERNELS, RECORDED, DEFINE_TWICE, BY_NAME, LOCAL, RAISE_LOCAL, FAIL]
    cells += [
        f"{VALUES}  # after it",
        QUOTE,
        QUOTE_ON_RANKS,
        SYNTAX,
        WARN,
        PX,
        AFTER_PX,
        *WRONG_RANKS,
        HIDDEN,
        HERE,
        ASKED_FOR,
        NO_RANK,
        LIGHT,
    ]
    cells += ["ranks.stop()", STOPPED, RUN_STOPPED]
    return Notebook(cells)


def test_ten_repetitions_print_the_same_bytes_in_rank_order(notebook: Notebook) -> None:
    texts = ["".join(output.text for output in cell.outputs) for cell in notebook.runs(SPEAK)]
    blocks = [f"rank {r}:\n  hello from {r}\n  step 0\n  step 1\n  step 2\n  sum of ranks\n" for r in range(4)]
    assert texts == ["".join(blocks)] * REPETITIONS


def test_a_cell_before_the_ranks_says_how_to_start_them_and_the_lab_is_light_till_then(notebook: Notebook) -> None:
    (loaded,) = notebook.outputs(LOOK)
    assert loaded.data["text/plain"] == "set()"
    assert notebook.usage(EARLY) == "UsageError: no ranks are running: ranks = start_ranks(4) starts four\n"


def test_a_cell_that_says_nothing_shows_nothing(notebook: Notebook) -> None:
    for source in (IMPORT, DEFINE, SILENT, NONE, EMPTY, PX):
        assert notebook.outputs(source) == []


def test_the_last_expression_is_shown_identical_ones_once(notebook: Notebook) -> None:
    assert notebook.said(VALUE) == "ranks 0-3: tensor([6., 6.])\n"
    assert notebook.said(VALUES) == "rank 0: 0\nrank 1: 10\nrank 2: 20\nrank 3: 30\n"


def test_some_ranks_only(notebook: Notebook) -> None:
    assert notebook.said(ON_TWO) == "rank 0: 0\nrank 2: 2\n"


@pytest.mark.parametrize("source", WRONG_RANKS)
def test_what_the_magic_cannot_do_is_one_sentence(notebook: Notebook, source: str) -> None:
    assert notebook.usage(source) == f"UsageError: {WRONG_RANKS[source]}\n"


def test_a_recorded_cell_gives_its_trace(notebook: Notebook) -> None:
    assert notebook.said(RECORD) == "ranks 0-3: 8.0\n"
    (shown,) = notebook.outputs(RECORDED)
    assert shown.data["text/plain"] == "(['all_reduce', 'all_reduce', 'all_reduce', 'all_reduce'], 4, True)"


def test_a_cell_can_be_recorded_uncounted(notebook: Notebook) -> None:
    (shown,) = notebook.outputs(KERNELS)
    assert shown.data["text/plain"] == "[True, False]"


def test_functions_of_the_ranks_by_name_and_of_the_notebook_by_value(notebook: Notebook) -> None:
    (shown,) = notebook.outputs(BY_NAME)
    assert shown.data["text/plain"] == repr([np.array([8.0], dtype="f4")] * 4).replace("), ", "),\n ")
    (shown,) = notebook.outputs(LOCAL)
    assert shown.data["text/plain"] == "[0, 2, 4, 6]"


def test_an_error_names_the_cells_line_and_not_our_call_stack(notebook: Notebook) -> None:
    (cell,) = notebook.runs(FAIL)
    name, defined = f"In [{cell.execution_count}]", f"In [{notebook.runs(DEFINE)[0].execution_count}]"
    lines = notebook.error(FAIL).splitlines()
    assert lines[:4] == [
        "RankError: rank 2 raised ValueError: bad batch",
        "Traceback of rank 2:",
        f"  {name}:4 in <module>",
        '    raise ValueError("bad batch")',
    ]
    (others,) = lines[4:]
    assert others.startswith("ranks 0-1, 3 were left waiting in all_reduce")
    assert others.endswith(f"of shape [2] on world ({defined}:3)")


def test_the_cell_after_an_error_works(notebook: Notebook) -> None:
    assert notebook.said(f"{VALUES}  # after it") == notebook.said(VALUES)


def test_an_error_in_a_function_of_the_notebook(notebook: Notebook) -> None:
    (cell,) = notebook.runs(RAISE_LOCAL)
    name = f"In [{cell.execution_count}]"
    assert notebook.error(RAISE_LOCAL).splitlines() == [
        "RankError: ranks 0-3 raised ZeroDivisionError: division by zero",
        "Traceback of ranks 0-3:",
        f"  {name}:2 in broken",
        "    return 1 / 0",
    ]


@pytest.mark.parametrize("source", [QUOTE, QUOTE_ON_RANKS])
def test_ranks_know_the_lines_of_cells(notebook: Notebook, source: str) -> None:
    assert notebook.said(source) == "ranks 0-3: True 3\n"


def test_a_syntax_error_names_its_line(notebook: Notebook) -> None:
    (cell,) = notebook.runs(SYNTAX)
    text = notebook.error(SYNTAX)
    assert text.startswith("RankError: ranks 0-3 raised SyntaxError: expected ':'")
    assert f"In [{cell.execution_count}]:3" in text
    assert "lab_utils" not in text


def test_standard_error_is_told_apart(notebook: Notebook) -> None:
    assert notebook.usage(WARN) == "ranks 0-3: careful\n"


def test_px_works_beside(notebook: Notebook) -> None:
    assert notebook.said(AFTER_PX) == "rank 0: 100\nrank 1: 101\nrank 2: 102\nrank 3: 103\n"


def test_a_name_that_only_ranks_have_is_told_of(notebook: Notebook) -> None:
    said = notebook.error(HIDDEN)
    assert "NameError" in said and "name 'rank' is not defined" in said
    assert said.endswith(
        "rank is a variable on ranks 0-3, which the notebook's own process does not see: "
        "a %%ranks cell uses it, and ranks.run(lambda: rank) returns it from every rank"
    )


def test_a_name_that_only_the_notebook_has_is_told_of(notebook: Notebook) -> None:
    said = notebook.error(ASKED_FOR).splitlines()
    assert said[0] == "RankError: ranks 0-3 raised NameError: name 'only_here' is not defined"
    assert said[-1] == (
        "only_here is a variable of the notebook, and ranks have their own: set it in a %%ranks cell, "
        "or pass it to a function: ranks.run(f, only_here)"
    )


def test_a_cell_that_is_no_ranks_cell_is_told_so(notebook: Notebook) -> None:
    assert notebook.error(NO_RANK).endswith("the ranks, which are in a group already")


def test_the_kernel_has_no_torch(notebook: Notebook) -> None:
    (shown,) = notebook.outputs(LIGHT)
    assert shown.data["text/plain"] == "False"


def test_without_ranks_the_magic_says_how_to_start_some(notebook: Notebook) -> None:
    assert notebook.usage(STOPPED) == "UsageError: no ranks are running: ranks = start_ranks(4) starts four\n"


def test_ranks_that_were_stopped_say_so_in_one_line(notebook: Notebook) -> None:
    said = "RanksError: these ranks were stopped: start_ranks(n) starts others, restart() starts them again"
    assert notebook.error(RUN_STOPPED) == said


def test_warnings_about_the_surroundings_are_shown_where_these_fail_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail() -> None:
        print("trainer.py has changed", file=sys.stderr)
        raise OSError("no folder")

    shell = SimpleNamespace(displayhook=SimpleNamespace(prompt_count=3))
    for name, value in (("get_ipython", lambda: shell), ("current_ranks", lambda: shell),
                        ("magic_cell", lambda cell, _: cell), ("surroundings", fail)):  # fmt: skip
        monkeypatch.setattr(magic, name, value)
    with pytest.raises(OSError, match="no folder"):
        magic.ranks_magic("", "1")
    assert capsys.readouterr().err == "trainer.py has changed\n"
