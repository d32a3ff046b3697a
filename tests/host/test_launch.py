"""`make lab`: the flags it picks, and a port that is taken; test_notebook_leftovers opens the address it prints."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import a_checkout, write
from lab_server import ROOT, START_S, start

from lab_utils.host import launch


@pytest.mark.parametrize(
    ("environ", "platform", "screen"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/ttys001"}, "darwin", False),
    ],
)
def test_screen(environ: dict[str, str], platform: str, screen: bool) -> None:
    assert launch.has_screen(environ, platform) is screen


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        (["--no-browser"], None),
        (["--port=9999"], 9999),
        (["--no-browser", "--port", "9999"], 9999),
        (["--ServerApp.port=9999"], 9999),
        (["--port=soon"], None),
        ([], None),
    ],
)
def test_named_port(arguments: list[str], port: int | None) -> None:
    assert launch.named_port(arguments) == port


def test_flags_come_before_what_the_user_says() -> None:
    line = launch.command(["--port=9999"], screen=False, root=True)
    assert line[:3] == [sys.executable, "-m", "jupyterlab"]
    here = ["--ServerApp.ip=127.0.0.1", "--ServerApp.root_dir=."]
    assert line[4:] == ["--no-browser", *here, "--allow-root", "--ServerApp.port_retries=0", "--port=9999"]
    assert launch.command([], screen=True, root=False)[4:] == here


def test_the_readers_copy_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    a_checkout(tmp_path, monkeypatch)
    assert launch.prepare() == Path("work")
    assert capsys.readouterr().err == "2 chapters are copied to work/: change and run them there.\n"
    assert launch.prepare() == Path("work") and capsys.readouterr().err == ""
    write(tmp_path / "labs/01_next.ipynb", "# Next, rewritten")
    write(tmp_path / "labs/02_last.ipynb", "# Last")
    launch.prepare()
    copied, said = capsys.readouterr().err.split("\n", 1)
    assert copied == "1 chapter is copied to work/: change and run it there."
    assert said.startswith("Changed in labs/ since you copied it: 01_next.\n")
    line = launch.command([], screen=True, root=False, folder=Path("work"))
    assert line[3] == "--LabApp.default_url=/lab/tree/work/00_ranks.ipynb"


def test_a_checkout_that_cannot_be_written_opens_labs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    a_checkout(tmp_path, monkeypatch)
    (tmp_path / "work").write_text("in the way", encoding="utf-8")
    assert launch.prepare() == Path("labs")
    assert capsys.readouterr().err == "Chapters open in labs/, as work/ cannot be written: File exists.\n"


@pytest.mark.parametrize(
    "said", [["--ip=0.0.0.0"], ["--ip", "0.0.0.0"], ["--ServerApp.ip=0.0.0.0"], ["--LabApp.ip=::1"]]
)
def test_an_address_that_the_user_names_is_the_only_one(said: list[str]) -> None:
    assert launch.command(said, screen=True, root=False)[4:] == ["--ServerApp.root_dir=.", *said]


def test_a_folder_that_the_user_names_is_the_only_one() -> None:
    said = ["--ip=::1", "--notebook-dir=labs"]
    assert launch.command(said, screen=True, root=False)[4:] == said


def test_proxies_at_which_jupyterlab_would_end_are_named() -> None:
    usable = {"http_proxy": "http://proxy:3128", "NO_PROXY": "*"}
    assert launch.unusable_proxies(usable) == {}
    found = launch.unusable_proxies(usable | {"ALL_PROXY": "socks4://proxy:1080", "HTTPS_PROXY": "proxy:3128"})
    assert list(found) == ["ALL_PROXY", "HTTPS_PROXY"]
    assert all(why.startswith("Unknown scheme for proxy URL") for why in found.values())


def test_the_users_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH")
    assert launch.paths(dict.fromkeys(names, "/mine")) == dict.fromkeys(names, f"{launch.SETTINGS}{os.pathsep}/mine")
    assert launch.paths({}) == dict.fromkeys(names, str(launch.SETTINGS))


@pytest.mark.parametrize("form", ["--port={}", "--port {}"])
def test_a_port_in_use_is_one_sentence(form: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(form.format(port).split(), tmp_path)
        _, said = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert said == f"Port {port} is in use: name another, or none and JupyterLab takes a free one.\n"


def test_another_folder_is_one_sentence(tmp_path: Path) -> None:
    environ_path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lab_utils.host import launch; "
    line = [sys.executable, "-c", environ_path + "sys.exit(launch.main([]))"]
    done = subprocess.run(line, cwd=tmp_path, encoding="utf-8", capture_output=True)
    assert done.returncode == 2
    assert done.stderr == "labs/00_ranks.ipynb is not here: run this in the folder of the repository.\n"
