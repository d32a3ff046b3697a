"""`make lab` opens the first chapter; nothing is left of a notebook's ranks, however its kernel or server ends."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jupyter_client import BlockingKernelClient, KernelManager
from lab_server import ROOT, START_S, Server, execute, serve
from rank_processes import assert_gone, below, folders, with_temp
from server_ends import end

START = "from lab_utils import start_ranks; ranks = start_ranks(1); ranks.run(lambda: 1)"
FOREVER = "import time; ranks.run(time.sleep, 3600)"


@pytest.fixture
def server(own_temp: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make lab`, whose kernels and their ranks have a folder for temporary files of their own."""
    with serve(tmp_path_factory.mktemp("home")) as server:
        yield server


def _assert_left(place: Path, expected: set[psutil.Process]) -> None:
    """What was started with this folder for temporary files has ended, but for these, and the folder is empty."""
    assert_gone(with_temp(place) - expected)
    assert list(place.iterdir()) == []


def test_a_kernel_that_is_shut_down_now(own_temp: Path) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=START_S)
    execute(client, START)
    assert len(below(manager.provisioner.pid)) >= 4 and len(folders(own_temp)) == 1
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    _assert_left(own_temp, set())


def _start_ranks(client: BlockingKernelClient, place: Path) -> set[psutil.Process]:
    """Leave the notebook in a cell that ranks run for ever; all processes that have this place by then."""
    execute(client, START)
    client.execute(FOREVER)
    processes = with_temp(place)
    assert len(processes) >= 6  # the server, the kernel, reaper, fork server, controller and a rank
    return processes


def _assert_opens_the_first_chapter(page: str) -> None:
    base, path, token = re.fullmatch(r"(http://[^/]+)(/\S*)\?token=(\w+)", page).groups()
    room = "work" if (ROOT / "work").is_dir() else "labs"  # no copies in a checkout that cannot be written
    assert path == f"/lab/tree/{room}/00_ranks.ipynb"
    assert urllib.request.urlopen(page).status == 200
    chapter = urllib.request.urlopen(f"{base}/api/contents/{room}/00_ranks.ipynb?content=0&token={token}")
    assert json.load(chapter)["type"] == "notebook"
    settings = urllib.request.urlopen(
        f"{base}/lab/api/settings/@jupyterlab/apputils-extension:notification?token={token}"
    )
    assert json.load(settings)["schema"]["properties"]["fetchNews"]["default"] == "false"


def test_a_notebook_that_is_restarted_closed_and_open_when_the_server_stops(own_temp: Path, server: Server) -> None:
    _assert_opens_the_first_chapter(server.page)
    idle = with_temp(own_temp)
    with server.kernel() as (name, client):
        assert client.curve_secretkey  # read from its connection file: what is said to it is encrypted
        processes = _start_ranks(client, own_temp)
    server.ask("POST", f"kernels/{name}/restart")
    assert_gone(processes - idle)
    assert list(own_temp.iterdir()) == []
    with server.client(name) as client:
        _start_ranks(client, own_temp)
    server.ask("DELETE", f"kernels/{name}")
    _assert_left(own_temp, idle)
    with server.kernel() as (_, client):
        _start_ranks(client, own_temp)
    end(server.process, server.page)
    _assert_left(own_temp, set())
    assert [line for line in server.said if "without encryption" in line] == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=lambda sent: sent.name)
def test_a_server_that_ends_at_once(own_temp: Path, server: Server, sent: signal.Signals) -> None:
    with server.kernel() as (_, client):
        _start_ranks(client, own_temp)
    end(server.process, server.page, sent)
    _assert_left(own_temp, set())
