"""`%%ranks` cells that run for long, in a real kernel: what the reader sees meanwhile, and what stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import run_notebook

ROOT = Path(__file__).parents[2]
PID = "import os; os.getpid()"
START = "from lab_utils import start_ranks\nranks = start_ranks(2)"
LONG = """%%ranks
import os, sys, time
for step in range(10):
    print("step", step)
    time.sleep(0.4 + 0.05 * int(os.environ["RANK"]))"""
BAR = """%%ranks
import sys, time
for percent in range(0, 101, 10):
    print(f"\\r{percent:3} %", end="", file=sys.stderr)
    time.sleep(0.4)"""
FAIL = LONG.replace("range(10)", "range(8)") + "\nimport torch.distributed as dist\ndist.barrier()\n1 / 0"
SILENT = LONG + "\nfrom IPython.display import clear_output\nclear_output()"
INTERRUPTED = LONG.replace("range(10)", "range(1000)")
BESIDE = """print("before")
def speak():
    import time
    for step in range(10):
        print("in a function", step)
        time.sleep(0.4)
ranks.run(speak);"""


class Ran:
    """A notebook that was run: outputs per cell, and the texts that its live displays had."""

    def __init__(self, cells: list[str]):
        self.node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        self.seen: dict[str, list[str]] = {}
        self.cleared: set[str] = set()
        self._cell = ""
        run_notebook(self.node, ROOT, timeout_s=600, allow_errors=True, hear=self._hear)

    def _hear(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "execute_input":
            self._cell = content["code"]
        elif kind == "clear_output":
            self.cleared.add(self._cell)
        elif kind == "update_display_data":
            text = content["data"].get("text/plain", "")
            first = "step 1" in text and self._cell == INTERRUPTED and not self.seen.get(INTERRUPTED)
            self.seen.setdefault(self._cell, []).append(text)
            if first:
                os.kill(int(self.outputs(PID)[0].data["text/plain"]), signal.SIGINT)

    def outputs(self, source: str) -> list[nbformat.NotebookNode]:
        (cell,) = [cell for cell in self.node.cells if cell.source == source]
        return cell.outputs


@pytest.fixture(scope="module")
def ran() -> Ran:
    return Ran([PID, START, LONG, BAR, FAIL, SILENT, INTERRUPTED, BESIDE, "ranks.stop()"])


def steps(rank: int, count: int) -> str:
    return f"rank {rank}:\n" + "".join(f"  step {step}\n" for step in range(count))


def both(count: int) -> str:
    return steps(0, count).replace("rank 0", "ranks 0-1")


def test_lines_come_while_it_runs_and_end_in_rank_order(ran: Ran) -> None:
    seen = ran.seen[LONG]
    assert len(seen) > 2 and seen[-1] == ""
    whole = seen[-2].split("\n")
    assert all(line.split(" │ ")[1].startswith("step ") for line in whole)
    assert {line.split(" │ ")[0].strip() for line in whole} <= {"rank 0", "rank 1", "ranks 0-1"}
    (output,) = ran.outputs(LONG)
    assert (output.name, output.text) == ("stdout", both(10))


def test_a_bar_is_drawn_in_place(ran: Ran) -> None:
    bars = ran.seen[BAR][:-1]
    assert bars and all("\r" not in bar and len(bar.split("\n")) in (1, 2) for bar in bars)
    (output,) = ran.outputs(BAR)
    assert (output.name, output.text) == ("stderr", "ranks 0-1: 100 %\n")


def test_a_cell_that_fails_keeps_what_was_printed(ran: Ran) -> None:
    said, error = ran.outputs(FAIL)
    assert said.text == both(8)
    assert error.ename == "RankError" and error.evalue.startswith("ranks 0-1 raised ZeroDivisionError")


def test_a_cell_that_has_cleared_its_output_is_empty(ran: Ran) -> None:
    assert ran.seen[SILENT] and SILENT in ran.cleared
    assert ran.outputs(SILENT) == []


def test_an_interrupted_cell_keeps_what_was_printed(ran: Ran) -> None:
    *said, error = ran.outputs(INTERRUPTED)
    assert error.ename == "RanksInterrupted"
    assert "step 1\n" in "".join(output.text for output in said)


def test_what_else_the_cell_has_printed_stays(ran: Ran) -> None:
    assert BESIDE not in ran.cleared and "in a function 0" in ran.seen[BESIDE][0]
    texts = [output.text for output in ran.outputs(BESIDE) if output.output_type == "stream"]
    lines = "".join(f"  in a function {step}\n" for step in range(10))
    assert "".join(texts) == "before\nranks 0-1:\n" + lines
    assert [output.data for output in ran.outputs(BESIDE) if output.output_type == "display_data"] == [{}]
