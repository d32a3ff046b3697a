"""Whether other processes took the machine's cores while ranks ran."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab_utils.host import cpu_times as module
from lab_utils.host.cpu_times import CpuTimes, cpu_times, taken_by_others


def used(own_s: float, all_s: float, wall_s: float = 1.0, cores: int = 2) -> CpuTimes:
    return CpuTimes(wall_s, own_s, all_s, cores)


@pytest.mark.parametrize(
    ("ranks", "others"),
    [
        ([used(0.5, 2.0)] * 2, (1.0, 2)),
        ([used(0.25, 1.5)] * 4, (0.5, 2)),
        ([used(0.5, 2.0)] * 4, None),  # they are alone
        ([used(0.5, 2.3)] * 4, None),  # little
        ([used(0.5, 32.0, cores=64)] * 4, None),  # a core is left for each
        ([used(0.5, 64.0, cores=64)] * 4, (62.0, 64)),
        ([used(0.01, 0.1, wall_s=0.05)] * 4, None),  # too short to tell
        ([], None),
    ],
)
def test_what_others_took(ranks: list[CpuTimes], others: tuple[float, int] | None) -> None:
    assert taken_by_others(ranks) == (others and pytest.approx(others))


@pytest.mark.skipif(cpu_times() is None, reason="only Linux tells")
def test_a_process_that_computes_is_seen_by_both_counts() -> None:
    """However late it gets to run: it computes until its own time, and that of the cores, has grown."""
    before, began_s = cpu_times(), time.process_time()
    while time.process_time() < began_s + 0.05 or cpu_times().all_s == before.all_s:
        pass
    since = cpu_times().since(before)
    assert since.own_s >= 0.05 and since.all_s > 0 and since.wall_s > 0
    assert since.cores == before.cores >= 1


CHILD = """import sys, time
while time.process_time() < 0.2:
    pass
print("computed", flush=True)
sys.stdin.read()"""


@pytest.mark.skipif(cpu_times() is None, reason="only Linux tells")
def test_what_a_rank_has_started_is_no_other_process() -> None:
    """Such as a DataLoader's worker: while it runs, and when it has ended."""
    before = cpu_times()
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"computed\n"
        assert cpu_times().since(before).own_s >= 0.2 - 2 * 0.01  # its two counts are in hundredths
        child.stdin.close()
        assert child.wait() == 0
    assert cpu_times().since(before).own_s >= 0.2 - 2 * 0.01


BUSY = "100 0 50 900 7 1 2 3 99 99"  # user, nice, system, idle, iowait, irq, softirq, steal, guests


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of three cores, two of which this process may use; nothing else of it has run."""
    (tmp_path / "stat").write_text(f"cpu  {BUSY}\ncpu0 {BUSY}\ncpu1 {BUSY}\ncpu12 {BUSY}\nintr 5\n", encoding="ascii")
    monkeypatch.setattr(module, "PROC", tmp_path)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {1, 12}, raising=False)
    monkeypatch.setattr(module.os, "sysconf", lambda _: 100)
    monkeypatch.setattr(module.time, "process_time", lambda: 7.0)
    monkeypatch.setattr(module.os, "times", lambda: module.os.times_result((7.0, 0.0, 0.5, 0.25, 9.0)))
    return tmp_path


def process(proc: Path, name: str, ticks: str, *children: str) -> None:
    tasks = proc / name / "task" / name
    tasks.mkdir(parents=True)
    (tasks / "children").write_text(" ".join(children), encoding="ascii")
    (proc / name / "stat").write_text(f"{name} (a (b) c) S {'0 ' * 10}{ticks} 20 0", encoding="ascii")


def test_only_the_cores_that_it_may_use_count(proc: Path) -> None:
    found = cpu_times()
    assert (found.all_s, found.cores, found.own_s) == (2 * 1.56, 2, 7.75)


def test_processes_that_it_has_started_and_theirs_are_its_own(proc: Path) -> None:
    process(proc, "self", "0 0 0 0", "21", "22")  # 22 has ended meanwhile
    process(proc, "21", "100 50 10 5", "23")
    process(proc, "23", "1000 0 0 0")
    assert cpu_times().own_s == 7.75 + 11.65


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PROC", tmp_path)
    assert cpu_times() is None
