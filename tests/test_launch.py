"""`make lab`: the address it prints, the flags it picks, and a port that is taken."""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_utils import launch

ROOT = Path(__file__).parents[1]
START_S = 60


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
    assert line[4:] == ["--no-browser", "--allow-root", "--ServerApp.port_retries=0", "--port=9999"]
    assert launch.command([], screen=True, root=False)[4:] == []


def test_the_users_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch.config_path({"JUPYTER_CONFIG_PATH": "/mine"}) == f"{launch.SETTINGS}{os.pathsep}/mine"
    assert launch.config_path({}) == str(launch.SETTINGS)


def start(arguments: list[str], home: Path, **options) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "lab_utils", "lab", *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environ |= {"HOME": str(home), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(line, env=environ, text=True, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)


def await_port(port: int) -> None:
    """JupyterLab prints its address just before it binds the port, and says nothing after."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nothing listens on port {port} after {START_S} s"
            time.sleep(0.02)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address that a real `lab` prints where there is no screen; it is ended by its own process."""
    process = start(["--no-browser"], tmp_path, cwd=ROOT)
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stderr], daemon=True)
    reader.start()
    try:
        address = None
        while address is None:
            address = re.search(r"http://127\.0\.0\.1:\S+token=\S+", lines.get(timeout=START_S))
        await_port(int(re.search(r":(\d+)/", address[0])[1]))
        yield address[0]
    finally:
        process.terminate()
        process.wait(timeout=START_S)
        reader.join(timeout=START_S)
        process.stderr.close()


def test_the_printed_address_opens_the_first_chapter(lab: str) -> None:
    base, path, token = re.fullmatch(r"(http://[^/]+)(/\S*)\?token=(\w+)", lab).groups()
    assert path == "/lab/tree/labs/00_ranks.ipynb"
    assert urllib.request.urlopen(lab).status == 200
    chapter = urllib.request.urlopen(f"{base}/api/contents/labs/00_ranks.ipynb?content=0&token={token}")
    assert json.load(chapter)["type"] == "notebook"
    settings = urllib.request.urlopen(
        f"{base}/lab/api/settings/@jupyterlab/apputils-extension:notification?token={token}"
    )
    assert json.load(settings)["schema"]["properties"]["fetchNews"]["default"] == "false"


@pytest.mark.parametrize("form", ["--port={}", "--port {}"])
def test_a_port_in_use_is_one_sentence(form: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(form.format(port).split(), tmp_path, cwd=ROOT)
        _, said = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert said == f"Port {port} is in use: name another, or none and JupyterLab takes a free one.\n"


def test_another_folder_is_one_sentence(tmp_path: Path) -> None:
    environ_path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lab_utils import launch; "
    line = [sys.executable, "-c", environ_path + "sys.exit(launch.main([]))"]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr == "labs/00_ranks.ipynb is not here: run this in the folder of the repository.\n"
