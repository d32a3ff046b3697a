"""The system's own count of processes that it killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_utils.host.memory_limits import MemoryKills

V2 = "0::/user/lab\n"
V1 = "9:name=systemd:/\n4:cpu,memory:/lab\n"


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("groups", "counter"),
    [
        (V2, "cgroup/user/lab/memory.events"),
        (V1, "cgroup/memory/lab/memory.oom_control"),
        ("", "proc/vmstat"),
    ],
)
def test_new_kills_are_counted_once(tmp_path: Path, groups: str, counter: str) -> None:
    write(tmp_path / "proc/self/cgroup", groups)
    write(tmp_path / "proc/vmstat", "nr_free_pages 17\noom_kill 0\n")
    file = write(tmp_path / counter, "low 0\noom 3\noom_kill 5\n")
    kills = MemoryKills(tmp_path / "proc", tmp_path / "cgroup")
    assert kills.new() == 0
    file.write_text("low 0\noom 9\noom_kill 7\n", encoding="utf-8")
    assert kills.new() == 2
    assert kills.new() == 0


def test_one_kill_that_several_counters_saw_is_one(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", V2)
    files = [write(tmp_path / name, "oom_kill 1\n") for name in ("proc/vmstat", "cgroup/user/lab/memory.events")]
    kills = MemoryKills(tmp_path / "proc", tmp_path / "cgroup")
    for file in files:
        file.write_text("oom_kill 2\n", encoding="utf-8")
    assert kills.new() == 1


def test_a_system_that_does_not_count(tmp_path: Path) -> None:
    kills = MemoryKills(tmp_path / "proc", tmp_path / "cgroup")
    assert kills.new() == 0
