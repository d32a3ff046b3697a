"""Whether other processes took the machine's cores while ranks ran."""

from __future__ import annotations

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
    before = cpu_times()
    while time.process_time() < before.own_s + 0.3:
        pass
    since = cpu_times().since(before)
    assert 0.3 <= since.own_s <= since.all_s + 0.05 and since.wall_s >= 0.3 - 0.01
    assert since.cores == before.cores >= 1


def test_only_the_cores_that_it_may_use_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    busy = "100 0 50 900 7 1 2 3 99 99"  # user, nice, system, idle, iowait, irq, softirq, steal, guests
    stat.write_text(f"cpu  {busy}\ncpu0 {busy}\ncpu1 {busy}\ncpu12 {busy}\nintr 5\n", encoding="ascii")
    monkeypatch.setattr(module, "STAT", stat)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {1, 12}, raising=False)
    monkeypatch.setattr(module.os, "sysconf", lambda _: 100)
    found = cpu_times()
    assert (found.all_s, found.cores) == (2 * 1.56, 2)


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "STAT", tmp_path / "none")
    assert cpu_times() is None
