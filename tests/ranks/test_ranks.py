"""`start_ranks`: run, record, status, restart, stop; and the kernel stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import process_programs
import psutil
import pytest
from machine import odd
from rank_processes import GONE_S, assert_gone, folders, started_by

from lab_utils import start_ranks
from lab_utils.host.cpu_times import CpuTimes, cpu_times
from lab_utils.host.machine import threads_per_rank
from lab_utils.ranks import RankError, Ranks
from lab_utils.ranks.calls import outcomes
from lab_utils.ranks.processes import reaper
from lab_utils.timeline import Trace

# A notebook's kernel in small: it starts ranks, runs and records on them, fails on them, and never loads torch.
LIGHT_KERNEL = """
import sys
from lab_utils import start_ranks
from lab_utils.ranks import RankError

def mean_rank():
    import torch, torch.distributed as dist
    total = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(total)
    return {"mean": total / dist.get_world_size(), "dtype": total.dtype, "shape": total.shape}

with start_ranks(2) as ranks:
    results = ranks.run(mean_rank)
    trace = ranks.record(mean_rank)
    try:
        ranks.run(lambda: 1 / 0)
    except RankError:
        pass
    print(results[1]["mean"], results[1]["dtype"], results[1]["shape"], len(trace.timeline().to_svg()) > 100)
    ranks.status()
print("torch" in sys.modules)
"""


def all_sum(values: np.ndarray) -> Any:
    import torch
    import torch.distributed as dist

    tensor = torch.from_numpy(values.copy())
    dist.all_reduce(tensor)
    return tensor


# ------------------------------------------------------------------ run
def test_results_are_in_rank_order(ranks4: Ranks) -> None:
    def rank_later_for_smaller() -> int:
        import torch.distributed as dist

        for rank in range(3, dist.get_rank(), -1):
            dist.barrier()
            assert rank
        for _ in range(dist.get_rank()):
            dist.barrier()
        return dist.get_rank()

    assert ranks4.run(rank_later_for_smaller) == [0, 1, 2, 3]


def test_collectives_reach_every_rank(ranks4: Ranks) -> None:
    values = np.arange(5, dtype=np.float32)
    for result in ranks4.run(all_sum, values):
        assert isinstance(result, np.ndarray) and result.dtype == np.float32
        np.testing.assert_array_equal(result, 4 * values)


def test_progress_arrives_while_the_program_runs(ranks2: Ranks) -> None:
    def train(steps: int) -> str:
        import torch.distributed as dist

        from lab_utils.comm import report

        for step in range(steps):
            report(step=step, loss=1 / (step + 1))
            dist.barrier()
        return "trained"

    heard: dict[int, list] = {0: [], 1: []}
    assert ranks2.run(train, 5, on_report=lambda rank, values: heard[rank].append(values)) == ["trained"] * 2
    assert heard[0] == heard[1] == [{"step": step, "loss": 1 / (step + 1)} for step in range(5)]


def test_what_ranks_print_is_shown_in_rank_order(ranks4: Ranks, capsys: pytest.CaptureFixture) -> None:
    def speak() -> None:
        import torch.distributed as dist

        print("even" if dist.get_rank() % 2 == 0 else f"odd {dist.get_rank()}")
        print("careful", file=sys.stderr)

    ranks4.run(speak)
    said = capsys.readouterr()
    assert said.out == "ranks 0, 2: even\nrank 1: odd 1\nrank 3: odd 3\n"
    assert said.err == "ranks 0-3: careful\n"


# ------------------------------------------------------------------ record, status
def test_record_brings_the_ops_and_the_results(ranks4: Ranks) -> None:
    trace = ranks4.record(all_sum, np.ones(256, dtype=np.float32))
    assert isinstance(trace, Trace) and trace.world_size == 4
    np.testing.assert_array_equal(trace.results, np.full((4, 256), 4.0))
    ((_, ops),) = trace.collectives().items()
    assert [(op.rank, op.name, op.bytes, op.ranks) for op in ops] == [
        (rank, "all_reduce", 1024, (0, 1, 2, 3)) for rank in range(4)
    ]
    assert {op.source.partition(":")[0] for op in ops} == {"test_ranks.py"}


def test_each_recording_holds_its_own_run(ranks2: Ranks) -> None:
    def reduces(count: int) -> None:
        import torch
        import torch.distributed as dist

        for _ in range(count):
            dist.all_reduce(torch.ones(1))

    ranks2.run(reduces, 3)
    counts = [len(ranks2.record(reduces, count).collectives()) for count in (2, 0, 1)]
    assert counts == [2, 0, 1]


@pytest.mark.skipif(cpu_times() is None, reason="only Linux tells")
def test_a_recording_tells_whether_the_machine_was_busy(ranks2: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    def spins() -> None:
        import time

        began_s = time.process_time()
        while time.process_time() < began_s + 0.2:
            pass

    told: list[CpuTimes] = []
    monkeypatch.setattr(outcomes, "taken_by_others", lambda used: told.extend(used) or (1.0, 2))
    trace = ranks2.record(spins)
    assert len(told) == 2 and all(0.2 <= used.own_s <= used.all_s + 0.05 for used in told)
    assert trace.others == trace.timeline().others == (1.0, 2)


def test_status_of_idle_ranks(ranks4: Ranks) -> None:
    status = ranks4.status()
    assert [rank.rank for rank in status] == [0, 1, 2, 3]
    assert all(rank.alive and rank.doing == "idle" and rank.for_s >= 0 for rank in status)
    assert all(5 * 2**20 < rank.memory_bytes < 500 * 2**20 for rank in status)
    table = repr(status).splitlines()
    assert table[0].split() == " ".join(status.HEAD).split() and len(table) == 5
    assert status._repr_html_().count("<tr>") == 5


def test_an_empty_run_costs_little(ranks2: Ranks) -> None:
    """The kernel and the controller keep nothing of what has been answered."""
    array = np.ones(250_000)
    processes = [p for p in psutil.Process().children(recursive=True) if "ipyparallel.controller" in p.cmdline()]
    ranks2.run(lambda: array)
    before = [process.memory_info().rss for process in processes]
    for _ in range(20):  # 2 ranks, 2 MB there and 2 MB back: 160 MB if it were kept
        ranks2.run(lambda: array)
    grown = [process.memory_info().rss - rss for process, rss in zip(processes, before, strict=True)]
    assert processes and max(grown) < 60 * 2**20


# ------------------------------------------------------------------ life
def remember(value: int | None = None) -> Any:
    import builtins

    if value is not None:
        builtins.remembered = value
    return getattr(builtins, "remembered", None)


def killed_after_long(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> list[psutil.Process]:
    """Ends the ranks' processes as their reaper does, but with much more patience; those that it had to kill."""
    killed: list[psutil.Process] = []
    started = ranks._engines._starting[1].process.pid, ranks._engines.controller_pid
    with monkeypatch.context() as patched:
        patched.setattr(reaper, "GRACE_S", GONE_S)
        patched.setattr(psutil.Process, "kill", lambda process: killed.append(process))
        reaper.end([psutil.Process(pid) for pid in started])
    return killed


def test_restart_gives_fresh_ranks_and_stop_ends_them(own_temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, and nothing is left of those before."""
    own, first = started_by(lambda: start_ranks(2))
    assert len(first) >= 5  # reaper, fork server, controller and two ranks
    before = own.run(os.getpid)
    own.run(remember, 7)
    assert own.run(remember) == [7, 7]
    again, second = started_by(own.restart)
    assert again is own
    assert own.run(remember) == [None, None]
    assert not set(before) & set(own.run(os.getpid))
    assert_gone(first)
    assert len(folders(own_temp)) == 1

    assert repr(own) == "<2 ranks, running>"
    assert killed_after_long(own, monkeypatch) == []  # stop is quick, because they end when they are asked to
    own.stop()
    own.stop()  # does nothing the second time
    assert repr(own) == "<2 ranks, stopped>"
    assert_gone(second)
    assert folders(own_temp) == []
    for use in (lambda: own.run(os.getpid), lambda: own.record(os.getpid), own.status):
        with pytest.raises(RuntimeError, match="^these ranks were stopped: start_ranks"):
            use()

    again, third = started_by(own.restart)
    with pytest.raises(RankError, match="ZeroDivisionError"), again:
        np.testing.assert_array_equal(own.run(all_sum, np.ones(1)), [[2.0], [2.0]])
        own.run(lambda: 1 / 0)
    assert len(third) >= 5
    assert_gone(third)
    assert folders(own_temp) == []


def test_the_stock_launcher_serves_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """What systems without fork use; the same results, records, deaths and ends, only slower to start."""
    ranks, processes = started_by(lambda: start_ranks(2, fork=False))
    with ranks:
        np.testing.assert_array_equal(ranks.run(all_sum, np.ones(3)), np.full((2, 3), 2.0))
        assert len(ranks.record(all_sum, np.ones(1)).collectives()) == 1
        assert [status.alive for status in ranks.status()] == [True, True]
        threads = os.environ.get("OMP_NUM_THREADS", str(threads_per_rank(2)))
        assert ranks.run(lambda: os.environ["OMP_NUM_THREADS"]) == [threads, threads]
        ranks.run(process_programs.leave_things_open, str(tmp_path), ranks._engines.controller_pid)
    assert_gone(processes)
    assert process_programs.left_in(tmp_path) == process_programs.at_the_end(2)
    assert capsys.readouterr() == ("ranks 0-1: goodbye\n", "")


def test_on_an_odd_machine_and_the_kernel_never_loads_torch(tmp_path: Path) -> None:
    """Long paths with umlauts, no HOME, no locale, dead proxies, few open files, warnings that are errors."""
    line = ["bash", "-c", 'ulimit -n 256; umask 077; exec "$@"', "bash", sys.executable, "-c", LIGHT_KERNEL]
    environ = os.environ | (own := odd(tmp_path))
    run = subprocess.run(line, env=environ, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["[0.5] torch.float32 (1,) True", "False"]
    assert run.stderr == ""
    assert list(Path(own["TMPDIR"]).iterdir()) == []
