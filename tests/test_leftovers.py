"""No process and no folder is left, whichever way the ranks or the notebook's kernel end."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from jupyter_client import KernelManager
from rank_processes import assert_gone, below, folders, started_by

from lab_utils import start_ranks
from lab_utils.comm.board import Board
from lab_utils.ranks import Ranks, StartError

ROOT = Path(__file__).parents[1]
STOP_S = 0.9  # less than the reaper's grace: nobody had to be killed
# Says when its ranks are up, and goes on at the next line it reads.
KERNEL = """
import os, signal, sys
from lab_utils import start_ranks
ranks = start_ranks(2)
print("up", flush=True)
sys.stdin.readline()
{end}
"""
ENDS = {
    "falls off its end": ("", 0),
    "leaves at once": ("os._exit(4)", 4),
    "is killed": ("signal.raise_signal(signal.SIGKILL)", -signal.SIGKILL),
    "is terminated while ranks run": ("ranks.run(os.kill, os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
}


@pytest.fixture(autouse=True)
def own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Here, and in the processes started from here, ranks keep their folder in a place of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


# ------------------------------------------------------------------ in this process
def test_stop_leaves_nothing_and_is_quick(own_temp: Path) -> None:
    ranks, processes = started_by(lambda: start_ranks(2))
    assert len(folders(own_temp)) == 1
    assert len(processes) >= 5  # reaper, zygote, controller and two ranks
    start = time.perf_counter()
    ranks.stop()
    took_s = time.perf_counter() - start
    assert folders(own_temp) == []
    assert_gone(processes)
    assert took_s < STOP_S


def test_stop_ends_ranks_that_are_stuck_or_stopped(own_temp: Path) -> None:
    """A process that no longer listens is killed after the grace."""
    ranks, processes = started_by(lambda: start_ranks(2))
    psutil.Process(ranks.status()[0].pid).suspend()
    ranks.stop()
    assert_gone(processes)
    assert folders(own_temp) == []


def test_a_with_block_that_raises_leaves_nothing(own_temp: Path) -> None:
    processes: list[psutil.Process] = []

    def use() -> None:
        with start_ranks(1) as ranks:
            processes.extend(below())
            ranks.run(lambda: 1 / 0)

    before = set(below())
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        use()
    assert len(set(processes) - before) >= 4
    assert_gone(set(processes) - before)
    assert folders(own_temp) == []


def test_ranks_that_nobody_has_any_more_end(own_temp: Path) -> None:
    ranks, processes = started_by(lambda: start_ranks(1))
    assert ranks.run(lambda: 1) == [1]
    gc.disable()  # the last name is enough: no collection must be needed
    try:
        del ranks
        assert folders(own_temp) == []
    finally:
        gc.enable()
    assert_gone(processes)


def test_restart_leaves_nothing_of_the_first_ranks(own_temp: Path) -> None:
    ranks, first = started_by(lambda: start_ranks(1))
    _, second = started_by(ranks.restart)
    assert_gone(first)
    assert len(folders(own_temp)) == 1
    ranks.stop()
    assert_gone(second)
    assert folders(own_temp) == []


# ------------------------------------------------------------------ a start that fails
@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[psutil.Process]]:
    """`seen(place, name, error)`: that function raises during a start; returns the processes there at that moment."""

    def watch(place: type, name: str, error: BaseException) -> list[psutil.Process]:
        before, begun = set(below()), []

        def fail(*_: object) -> None:
            begun.extend(process for process in below() if process not in before)
            raise error

        monkeypatch.setattr(place, name, fail)
        with pytest.raises(type(error)) as failed:
            start_ranks(1)
        assert failed.value is error
        return begun

    return watch


def test_an_error_after_the_ranks_are_up(own_temp: Path, seen: Callable) -> None:
    processes = seen(Board, "create", OSError(28, "No space left on device"))
    assert len(processes) >= 4
    assert_gone(processes)
    assert folders(own_temp) == []


def test_an_interrupt_during_the_start(own_temp: Path, seen: Callable) -> None:
    processes = seen(Ranks, "_join", KeyboardInterrupt())
    assert len(processes) >= 4
    assert_gone(processes)
    assert folders(own_temp) == []


def test_a_zygote_that_cannot_load_torch(own_temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an installation that is broken: what it said is in the sentence."""
    broken = own_temp / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text('raise ImportError("libtorch_cpu.so: file too short")\n')
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    before = set(below())
    with pytest.raises(StartError) as failed:
        start_ranks(1)
    assert "\n" not in str(failed.value)
    assert "ImportError: libtorch_cpu.so: file too short" in str(failed.value)
    assert_gone(set(below()) - before)
    assert folders(own_temp) == []


# ------------------------------------------------------------------ the kernel's process ends
@pytest.mark.parametrize("way", ENDS)
def test_a_kernel_that_ends(own_temp: Path, way: str) -> None:
    end, code = ENDS[way]
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL.format(end=end)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with kernel:
        assert kernel.stdout.readline() == "up\n"
        processes = below(kernel.pid)
        assert len(processes) >= 5 and len(folders(own_temp)) == 1
        kernel.stdin.write("end\n")
        kernel.stdin.flush()
        assert kernel.wait(timeout=30) == code
    assert_gone(processes)
    assert folders(own_temp) == []


def _execute(client, code: str) -> None:
    reply = client.execute_interactive(code, timeout=90, output_hook=lambda message: None)
    assert reply["content"]["status"] == "ok", reply["content"]


def test_a_notebooks_kernel_that_is_shut_down_now(own_temp: Path) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    _execute(client, "from lab_utils import start_ranks; ranks = start_ranks(2); ranks.run(lambda: 1)")
    processes = below(manager.provisioner.pid)
    assert len(processes) >= 5 and len(folders(own_temp)) == 1
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    assert_gone(processes)
    assert folders(own_temp) == []
