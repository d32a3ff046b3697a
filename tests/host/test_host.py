"""What a machine lacks is said in one sentence before anything is started."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab_utils.host import doctor, launch, machine
from lab_utils.ranks import StartError, start_ranks
from lab_utils.ranks.processes import engines
from lab_utils.ranks.processes.checks import check_request

CHECK = "from lab_utils.ranks.processes.checks import check_request; check_request(2)"


@pytest.fixture
def no_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOOPBACK", "192.0.2.1")  # no machine's: RFC 5737


@pytest.mark.usefixtures("no_loopback")
def test_no_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    why = r"nothing can be reached on 192\.0\.2\.1 \(Cannot assign requested address\), where ranks and notebooks talk"
    with pytest.raises(StartError, match=f"^{why}: give the loopback interface its address"):
        start_ranks(2)
    assert doctor.check_machine().mend.startswith("Give the loopback interface its address")
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs" / launch.FIRST_CHAPTER).touch()
    monkeypatch.chdir(tmp_path)
    assert launch.main(["--no-browser"]) == 1
    assert capsys.readouterr().err.startswith("JupyterLab cannot start: nothing can be reached on 192.0.2.1")


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_usable() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none_usable)
    with pytest.raises(StartError, match=r"^no temporary file can be written \(No usable .*\): set TMPDIR to a folder"):
        check_request(2)


def test_a_folder_that_this_encoding_cannot_name(tmp_path: Path) -> None:
    (folder := tmp_path / os.fsdecode("ü".encode())).mkdir()
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TMPDIR": str(folder)}
    line = [sys.executable, "-c", CHECK]
    run = subprocess.run(line, env=os.environ | ascii_only, stderr=subprocess.PIPE, encoding="ascii")
    *_, said = run.stderr.splitlines()
    assert said.endswith("encoding is ascii: set LC_ALL=C.UTF-8, or TMPDIR to a folder of plain letters")


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(StartError, match=r"^4 ranks need 120 open files in a process and 64 are allowed: run `ulimit"):
        check_request(4)
    assert doctor.check_machine().mend == "Run `ulimit -n 1024` before Python starts."


def test_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_OWN_FOLDERS", tmp_path / "proc")
    with pytest.raises(StartError, match=r"^there is no /proc, where Linux shows processes"):
        check_request(2)


def test_what_the_system_refuses_is_a_sentence_and_leaves_nothing(
    own_temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(engines, "Reaper", refused)
    with pytest.raises(StartError, match=r"^the ranks cannot be started: Resource .*: allow more processes"):
        start_ranks(2)
    assert list(own_temp.iterdir()) == []


def test_jupyter_has_nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home := tmp_path / "home").touch()  # a file: not even root can write below it
    monkeypatch.setenv("HOME", str(home))
    said = launch.folders_trouble()
    assert (
        said.startswith(f"{home}/") and "cannot be written (Not a directory): set HOME to a folder of your own" in said
    )
    home.unlink()
    assert launch.folders_trouble() == ""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", f"{tmp_path}/labs.ipynb/runtime")
    (tmp_path / "labs.ipynb").touch()
    assert "set JUPYTER_RUNTIME_DIR to a folder of your own" in launch.folders_trouble()
