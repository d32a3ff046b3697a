"""No process and no file is left of ranks, whichever way the process that started them ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from rank_processes import assert_gone, below, folders, with_temp

# Says when its ranks are up, then runs each line that it reads.
KERNEL = """
import os, signal, sys, threading, time
from lab_utils import start_ranks

def wait_in_vain():
    import torch.distributed as dist
    if dist.get_rank() == 0:
        dist.barrier()
    time.sleep(3600)

def get_stuck():
    threading.Thread(target=ranks.run, args=(wait_in_vain,), daemon=True).start()
    while not ranks.status()[0].doing.startswith("in barrier"):
        time.sleep(0.01)

def add():
    import torch
    import torch.distributed as dist
    from lab_utils.comm import report
    for op in range(100):
        dist.all_reduce(x := torch.ones(1))
        time.sleep(0.01)
        if op == 20 and dist.get_rank() == 0:
            report(under_way=True)
    return x.item()

def await_another_reaper(killed_pid):
    *_, reaper = ranks._engines._finalizer.peek()[2]
    while reaper._process.pid == killed_pid:
        time.sleep(0.01)
    with reaper._lock:  # it is told first what there is to end
        print("there", flush=True)

def fork():
    if os.fork() == 0:
        time.sleep(3600)

ranks = start_ranks(2)
print("up", flush=True)
for line in sys.stdin:
    exec(line)
"""
KILL = "signal.raise_signal(signal.SIGKILL)"
ENDS = {
    "leaves at once": ("os._exit(4)", 4),
    "is killed while ranks are stuck": (f"get_stuck(); {KILL}", -signal.SIGKILL),
    "is terminated while ranks run": ("ranks.run(os.kill, os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
}
SUSPENDED_S = 1.5  # fifteen heartbeats: ipyparallel gives up an engine after ten, unless it is told otherwise


@pytest.fixture
def kernel(own_temp: Path) -> Iterator[Kernel]:
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        encoding="utf-8", bufsize=1,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "up\n"
            started = below(process.pid)
            assert len(started) >= 5 and len(folders(own_temp)) == 1
            yield Kernel(process, started)
        finally:
            process.kill()


class Kernel(NamedTuple):
    """A process that has two ranks, runs each line that it reads, and ends at the last; and what it had started."""

    process: subprocess.Popen[str]
    started: list[psutil.Process]

    def run(self, line: str) -> None:
        self.process.stdin.write(line + "\n")

    def end(self, line: str = "") -> int:
        """Its exit code after this last line."""
        self.run(line)
        self.process.stdin.close()
        return self.process.wait()


@pytest.mark.parametrize("way", ENDS)
def test_a_kernel_that_ends(own_temp: Path, kernel: Kernel, way: str) -> None:
    line, code = ENDS[way]
    assert kernel.end(line) == code
    assert_gone(kernel.started)
    assert list(own_temp.iterdir()) == []


def test_a_machine_that_was_suspended_in_the_middle_of_a_call(own_temp: Path, kernel: Kernel) -> None:
    """It goes on, and the next call is as any other; then the kernel falls off its end."""
    machine = [psutil.Process(kernel.process.pid), *kernel.started]
    kernel.run("print(ranks.run(add, on_report=lambda *_: print('under way', flush=True)), flush=True)")
    assert kernel.process.stdout.readline() == "under way\n"
    for process in machine:
        process.suspend()
    time.sleep(SUSPENDED_S)
    for process in machine:
        process.resume()
    assert kernel.process.stdout.readline() == "[2.0, 2.0]\n"
    assert set(below(kernel.process.pid)) == set(kernel.started)
    assert kernel.end("print(ranks.run(add), flush=True)") == 0
    assert kernel.process.stdout.read() == "[2.0, 2.0]\n"
    assert_gone(kernel.started)
    assert list(own_temp.iterdir()) == []


def test_a_reaper_that_is_killed_before_a_kernel_that_leaves_a_fork_of_itself(own_temp: Path, kernel: Kernel) -> None:
    """Another takes its place, and then it is as if nothing had happened; the fork holds open what the kernel held."""
    (reaper,) = [process for process in kernel.started if "reaper.py" in " ".join(process.cmdline())]
    reaper.kill()
    kernel.run(f"await_another_reaper({reaper.pid})")
    assert kernel.process.stdout.readline() == "there\n"
    started = {*below(kernel.process.pid), *kernel.started}
    assert len(started) == len(kernel.started) + 1
    assert kernel.end(f"fork(); {KILL}") == -signal.SIGKILL
    (fork,) = with_temp(own_temp) - started
    assert_gone(started)
    assert list(own_temp.iterdir()) == []
    fork.kill()
