"""A test that waits for ever for a process is ended, and what it and that process were at can be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
CONFTEST = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import pytest
from hangs import ended_if_it_hangs

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    with ended_if_it_hangs(item, limit_s=3):
        return (yield)
"""
HANGS = """
import subprocess, sys

def test_hangs():
    program = "def asleep(): time.sleep(600)\\nimport time; asleep()"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0

def test_is_run_all_the_same():
    pass
"""


def test_a_test_that_hangs_says_where(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_one.py").write_text(HANGS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:nbval", "-n", "1", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert run.returncode == 1
    assert "assert -9 == 0" in run.stdout and "1 failed, 1 passed" in run.stdout
    assert "test_hangs has not ended after 3 s." in run.stderr
    assert "in test_hangs\n" in run.stderr
    assert "asleep (<string>:1)" in run.stderr or "Permission Denied" in run.stderr  # to look into another process
