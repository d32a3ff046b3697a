"""Requests that cannot be met: one sentence each, said before anything is started, or nothing left running."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rank_processes import below, folders

from lab_utils import start_ranks
from lab_utils.host import machine, memory_limits
from lab_utils.ranks import StartError
from lab_utils.ranks.processes import checks

MB = 2**20
# A machine without torch: nothing that is asked for torch finds it, in this process or in those it starts.
WITHOUT_TORCH = """
import sys

class Hidden:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
import psutil
from lab_utils import start_ranks
from lab_utils.host import machine, memory_limits
from lab_utils.ranks import StartError
try:
    start_ranks(2)
except StartError as error:
    print(error)
print(psutil.Process().children(recursive=True))
"""


def _refusal(asked: object) -> str:
    before = below()
    with pytest.raises(StartError) as refused:
        start_ranks(asked)
    assert below() == before
    sentence = str(refused.value)
    assert sentence and "\n" not in sentence
    assert refused.value._render_traceback_() == [f"StartError: {sentence}"]
    return sentence


@pytest.fixture(autouse=True)
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A refusal leaves no folder either."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert folders(tmp_path) == []


@pytest.mark.parametrize("asked", [0, -1, True, "4", 2.5, None, [4]])
def test_not_a_number_of_ranks(asked: object) -> None:
    assert _refusal(asked) == (
        f"start_ranks({asked!r}): the number of ranks must be a whole number from 1 up, such as 4"
    )


@pytest.mark.parametrize("timeout_s", [0, -1, "30", None, True])
def test_not_a_timeout(timeout_s: object) -> None:
    with pytest.raises(StartError) as refused:
        start_ranks(2, timeout_s=timeout_s)
    assert str(refused.value).startswith(f"timeout_s={timeout_s!r}: ") and "\n" not in str(refused.value)


def test_more_ranks_than_memory_allows() -> None:
    sentence = _refusal(100_000)
    said = re.fullmatch(r"100000 ranks need about (\d+) MB and (\d+) MB are free: start at most (\d+)", sentence)
    needed, free, most = map(int, said.groups())
    assert needed > free
    assert (memory_limits.SHARED_BYTES + most * memory_limits.RANK_BYTES) / MB <= free + 1


def test_as_many_as_it_names_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "files_trouble", lambda _: "")  # there may be fewer open files than memory
    most = int(_refusal(100_000).rpartition(" ")[2])
    assert checks.check_request(most - 3) == most - 3  # others take memory meanwhile


def test_a_container_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    three = memory_limits.SHARED_BYTES + 3 * memory_limits.RANK_BYTES
    monkeypatch.setattr(memory_limits, "free_bytes", lambda: three)
    needed = (three + memory_limits.RANK_BYTES) / MB
    assert _refusal(4) == f"4 ranks need about {needed:.0f} MB and {three / MB:.0f} MB are free: start at most 3"
    assert checks.check_request(3) == 3


def test_a_container_with_room_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limits, "free_bytes", lambda: 100 * MB)
    sentence = _refusal(1)
    assert "1 rank needs about" in sentence and "100 MB are free" in sentence
    assert "at most" not in sentence


def test_torch_is_missing() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    sentence, children = run.stdout.splitlines()
    assert sentence == (
        f"torch is not installed for {sys.executable}: run `make lab` once, or `pip install torch` there"
    )
    assert children == "[]"
