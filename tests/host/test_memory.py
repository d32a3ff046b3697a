"""The memory a rank may take is the tightest limit above us, the kernel's own cache not counted."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from lab_utils.host import memory_limits
from lab_utils.host.memory_limits import Cgroup


def group(folder: Path, names: tuple[str, str], limit: str, used: int, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip((*names, "memory.stat"), (limit, str(used), stat), strict=True):
        (folder / name).write_text(text + "\n", encoding="utf-8")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("memory.max", "memory.current")


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({"": ("max", 5)}, None),
        ({"": ("2000", 500)}, Cgroup(2000, 400)),
        ({"pod": ("2000", 500), "pod/box": ("max", 100)}, Cgroup(2000, 400)),
        ({"pod": ("9000", 8900), "pod/box": ("2000", 500)}, Cgroup(9000, 8800)),
        ({"pod": ("9000", 500), "pod/box": ("2000", 2500)}, Cgroup(2000, 2400)),
    ],
)
def test_version_2(limits: dict[str, tuple[str, int]], wanted: Cgroup | None, tmp_path: Path) -> None:
    for folder, (limit, used) in limits.items():
        group(tmp_path / "fs" / folder, V2, limit, used, "anon 1\ninactive_file 100")
    own = tmp_path / "own"
    own.write_text("0::/pod/box\n", encoding="utf-8")
    found = memory_limits.tightest_cgroup(tmp_path / "fs", own)
    assert found == wanted
    assert found is None or found.free_bytes == max(0, wanted.limit_bytes - wanted.used_bytes)


@pytest.mark.parametrize(("limit", "wanted"), [("9223372036854771712", None), ("2000", Cgroup(2000, 450))])
def test_version_1(limit: str, wanted: Cgroup | None, tmp_path: Path) -> None:
    group(tmp_path / "fs/memory/box", V1, limit, 500, "inactive_file 3\ntotal_inactive_file 50")
    own = tmp_path / "own"
    own.write_text("5:cpu,cpuacct:/\n4:memory:/box\n", encoding="utf-8")
    assert memory_limits.tightest_cgroup(tmp_path / "fs", own) == wanted


def test_no_cgroups(tmp_path: Path) -> None:
    assert memory_limits.tightest_cgroup(tmp_path, tmp_path / "absent") is None


def test_free_is_never_more_than_the_machine_or_the_limit_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < memory_limits.free_bytes() <= psutil.virtual_memory().total
    monkeypatch.setattr(memory_limits, "tightest_cgroup", lambda: Cgroup(1000, 900))
    assert memory_limits.free_bytes() == 100


def test_ranks_that_fit() -> None:
    four = memory_limits.SHARED_BYTES + 4 * memory_limits.RANK_BYTES
    assert [memory_limits.most_ranks(free) for free in (0, four - 1, four, four + memory_limits.RANK_BYTES)] == [
        0,
        3,
        4,
        5,
    ]
