"""The doctor tells the truth on a sound machine, a bare one and a broken one, and always in one screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

import psutil
import pytest

from lab_utils.host import doctor, memory_limits, releases

ROOT = Path(__file__).parents[2]
SCREEN_LINES = 24


def report(python: str | Path = sys.executable, **environ: str) -> tuple[int, dict[str, str], str]:
    """Exit status, {name: line with its mend}, and the whole text of `python -m lab_utils doctor`."""
    line = [python, "-m", "lab_utils", "doctor"]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, **environ}, encoding="utf-8", capture_output=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) <= SCREEN_LINES
    rows = re.findall(r"^[✓✗–] .*(?:\n +→ .*)?", done.stdout, re.MULTILINE)
    return done.returncode, {row[2:15].strip(): row for row in rows}, done.stdout


def test_a_sound_machine() -> None:
    status, rows, text = report()
    assert status == 0, text
    assert {
        "Python",
        "jupyterlab",
        "ipyparallel",
        "packages",
        "torch",
        "gloo",
        "GPU",
        "cores",
        "memory",
    } < set(rows)
    assert "2 processes formed a group" in rows["gloo"]
    assert text.endswith("\nNothing is missing.\n")


def test_a_bare_python(tmp_path: Path) -> None:
    """Nothing is installed at all: every line still comes, each with its mend, and no traceback."""
    venv.create(tmp_path / "bare", with_pip=False)
    status, rows, text = report(tmp_path / "bare" / "bin" / "python")
    assert status == 1
    packages = "the lab" if "the lab" in rows else "packages"  # a checkout that some pip has built tells its list
    for name in (packages, "torch", "gloo", "memory"):
        assert rows[name].startswith("✗"), text
    assert "make lab" in rows[packages] and "make lab" in rows["torch"]
    assert rows["Python"].startswith("✓")


@pytest.mark.parametrize("failure", ["ImportError('no libgomp.so.1')", "OSError('libcudart.so.13: cannot open')"])
def test_a_torch_that_cannot_be_imported(failure: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(f"raise {failure}\n", encoding="utf-8")
    status, rows, text = report(PYTHONPATH=str(tmp_path))
    assert status == 1
    assert rows["torch"].startswith("✗ torch        cannot be imported: ")
    assert re.search(r"'(.*)'", failure)[1] in rows["torch"]
    assert rows["gloo"].startswith("✗")
    assert text.endswith(" are missing.\n")


def await_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_gloo_that_cannot_talk_is_told_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that never joins: the check waits no longer for the other than its time-out."""
    monkeypatch.setattr(doctor, "GLOO_TIMEOUT_S", 1.0)
    start, sleeper = doctor._start, "import sys; sys.stdin.read()"

    def one_rank_only(program: str, environ: dict[str, str]) -> subprocess.Popen[str]:
        if "gloo_rank(0" in program:
            rank = start(program, environ)
            await_file(Path(re.search(r"'(.*)'", program)[1]))  # it waits for the other
            return rank
        line = [sys.executable, "-c", sleeper]
        return subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")

    monkeypatch.setattr(doctor, "_start", one_rank_only)
    finding = doctor.check_gloo()
    assert finding.mark == doctor.MISSING
    assert finding.found == "no answer within 1 s"
    assert "127.0.0.1" in finding.mend
    ours = [child.cmdline() for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert [line for line in ours if "gloo_rank" in " ".join(line) or sleeper in line] == []


def test_a_rank_that_fails_gives_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    start = doctor._start
    monkeypatch.setattr(doctor, "_start", lambda program, environ: start("raise OSError('no loopback')", environ))
    assert doctor.check_gloo().found == "OSError: no loopback"


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    three_ranks = memory_limits.SHARED_BYTES + 3 * memory_limits.RANK_BYTES
    monkeypatch.setattr(
        memory_limits, "tightest_cgroup", lambda: memory_limits.Cgroup(2_000_000_000, 2_000_000_000 - three_ranks)
    )
    finding = doctor.check_memory()
    assert finding.mark == doctor.MISSING
    assert "limit of this container 2.0 GB, room for 3 ranks" in finding.found


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert doctor.check_python().mark == doctor.MISSING


def test_chromium_is_found_on_path_and_in_playwrights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "cache"))
    assert doctor.chromium_path() is None
    assert doctor.check_browser().mark == doctor.OPTIONAL
    downloaded = tmp_path / "cache/chromium-1200/chrome-linux64/chrome"
    for program in (downloaded, tmp_path / "chromium"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)
        assert doctor.chromium_path() == str(program)


def test_releases_that_differ_from_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = "numpy==2.4.6 ; python_version < '3.12'\nnumpy==2.5.5\n    # via numba\ntorch==2.13.0\njupyter-core==5.9.1\n"
    installed = [("numpy", "2.5.5"), ("torch", "2.13.0+cpu"), ("Jupyter_Core", "5.9.1"), ("mine", "1")]
    assert releases.differing(lock, installed) == []
    differing = ["jupyter-core 6.0 (5.9.1)", "numpy 2.5.0 (2.4.6 or 2.5.5)"]
    assert releases.differing(lock, [("numpy", "2.5.0"), ("Jupyter_Core", "6.0")]) == differing
    monkeypatch.setattr(releases, "LOCK", tmp_path / "requirements.lock")
    assert list(doctor.check_releases()) == []  # a wheel, which has no lock beside it
    releases.LOCK.write_text("pytest==0.1\n", encoding="utf-8")
    (finding,) = doctor.check_releases()
    assert finding.mark == doctor.OPTIONAL
    assert finding.found == f"1 not as tested: pytest {pytest.__version__} (0.1)"
    assert releases.in_one_line().endswith(f": pytest {pytest.__version__} (0.1).")


def test_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--all"]) == 2
    assert capsys.readouterr().err == "doctor takes no arguments, got --all.\n"
