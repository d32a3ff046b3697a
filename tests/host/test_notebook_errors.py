"""What a notebook shows of an error: the reader's own lines, the sentence, and a hint where there is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lab_utils.host import notebook_errors
from lab_utils.host.notebook_errors import IS_NO_RANK, improve_errors

PARITY = "from lab_utils.strategies.parity import parity\nparity(1, 2)"
BACK = """from lab_utils.lazy import lazy
from lab_utils.text import Named
def mine(name):
    raise LookupError("from the reader's own function")
class Own(str):
    __str__ = __eq__ = __hash__ = lambda *_: mine("x")
from lab_utils.text import meant
meant(Own("a"), ["b"])"""
NO_GROUP = [
    "Default process group has not been initialized, please make sure to call init_process_group.",
    "Error initializing torch.distributed using env:// rendezvous: environment variable RANK expected, but not set",
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[[str], str]:
    shell = InteractiveShell(colors="nocolor")
    improve_errors(shell)

    def run_cell(source: str) -> str:
        shell.run_cell(source)
        return capsys.readouterr().out

    return run_cell


def test_the_labs_frames_are_folded_away(run: Callable[[str], str]) -> None:
    said = run(PARITY)
    assert "----> 2 parity(1, 2)" in said and "lab_utils/" not in said
    assert said.splitlines()[-1].startswith("ValueError: parity compares serial with a list of one snapshot per rank")
    run("%xmode --show")
    assert "lab_utils/strategies/parity.py" in run(PARITY)
    run("%xmode --hide")
    assert "lab_utils/" not in run(PARITY)


def test_the_readers_own_lines_below_the_labs_stay(run: Callable[[str], str]) -> None:
    said = run(BACK)
    assert "from the reader's own function" in said and "in mine(name)" in said and "lab_utils/" not in said


@pytest.mark.parametrize("message", NO_GROUP)
def test_a_cell_that_misses_the_group_is_told_where_it_runs(run: Callable[[str], str], message: str) -> None:
    said = run(f"raise ValueError({message!r})")
    assert said.splitlines()[-2:] == [f"ValueError: {message}", IS_NO_RANK]


def test_no_hint_on_another_error(run: Callable[[str], str]) -> None:
    assert IS_NO_RANK not in run("raise ValueError('another')")
    assert IS_NO_RANK not in run(f"raise KeyError({NO_GROUP[0]!r})")


def test_a_hint_is_given_once_however_often_an_error_is_shown(
    run: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_errors, "hints", [lambda error: "try this" if isinstance(error, KeyError) else ""])
    assert run("kept = KeyError('x')\nraise kept").count("try this") == 1
    assert run("raise kept").count("try this") == 1
