"""What is compiled is kept where it can be, and a cache that cannot be written or read stops nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

MODULE = """from lab_utils.timeline.numba_jit import compiled

@compiled("int64(int64)")
def double(n):
    return 2 * n
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "doubled.py"
    file.write_text(MODULE, encoding="utf-8")
    return file


def load(source: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("doubled", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hits(module: ModuleType) -> int:
    return sum(module.double.stats.cache_hits.values())


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_cache_that_was_cut_short_is_made_anew(source: Path, suffix: str) -> None:
    load(source)
    (file,) = (source.parent / "__pycache__").glob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:40])
    mended = load(source)
    assert mended.double(4) == 8 and hits(mended) == 0
    assert hits(load(source)) == 1


def test_without_a_folder_to_keep_it_in_it_is_compiled_each_time(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (blocked := source.parent / "blocked", source.parent / "__pycache__"):
        folder.touch()
    monkeypatch.setenv("HOME", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert load(source).double(4) == 8
    assert not list(source.parent.rglob("*.nb[ci]"))
