"""JupyterLab as `make lab` starts it where there is no screen, and notebooks' kernels that its REST API starts."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client import BlockingKernelClient
from server_ends import end, killed_if_it_fails

ROOT = Path(__file__).parents[2]
START_S = 600
STOP_S = 600
BEAT_S = 5.0  # on a busy machine a kernel that starts misses the 1 s in which jupyter_client would call it dead


def start(arguments: Sequence[str], home: Path, environ: Mapping[str, str] = {}, **options: Any) -> subprocess.Popen:
    """`make lab ARGS=...` of a user with that home, and with so much more in the environment."""
    own = {"HOME": str(home), "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "PYTHONUNBUFFERED": "1"}
    environ = {**os.environ, **environ, **own}
    line = [sys.executable, "-m", "lab_utils", "lab", *arguments]
    return subprocess.Popen(
        line, cwd=ROOT, env=environ, encoding="utf-8", stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options
    )


@dataclass(frozen=True)
class Server:
    """A server that listens; `page` is the address of the first chapter, with the token, as it was printed.

    said   lines that it and its kernels print after that
    """

    process: subprocess.Popen[str]
    page: str
    home: Path
    said: list[str]

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.page)[1])

    def ask(self, method: str, path: str) -> Any:
        """What the REST API answers, None when it is nothing."""
        base, token = re.fullmatch(r"(http://[^/]+).*[?&]token=(\w+)", self.page).groups()
        request = urllib.request.Request(
            f"{base}/api/{path}", method=method, headers={"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return json.loads(answer.read() or "null")

    @contextmanager
    def kernel(self) -> Iterator[tuple[str, BlockingKernelClient]]:
        """A new kernel's id, and a client of it as a notebook's page has one. The kernel is left to the server."""
        name = self.ask("POST", "kernels")["id"]
        with self.client(name) as client:
            yield name, client

    @contextmanager
    def client(self, name: str) -> Iterator[BlockingKernelClient]:
        """A client of the kernel with this id, which answers: another one after each restart."""
        client = BlockingKernelClient(connection_file=str(self.home / "runtime" / f"kernel-{name}.json"))
        client.load_connection_file()
        client.hb_channel.time_to_dead = BEAT_S
        client.start_channels()
        try:
            client.wait_for_ready(timeout=START_S)
            yield client
        finally:
            client.stop_channels()


@contextmanager
def serve(home: Path, environ: Mapping[str, str] = {}) -> Iterator[Server]:
    """Start a server and wait until it listens; end it when it is still there."""
    process = start(["--no-browser"], home, environ)
    with process.stderr:
        with killed_if_it_fails(process):
            page = _page(process)
        server = Server(process, page, home, [])
        reader = threading.Thread(target=server.said.extend, args=[process.stderr], daemon=True)
        reader.start()
        try:
            _await_port(server.port)
            yield server
        finally:
            end(process, server.page)
        reader.join(timeout=STOP_S)


def _page(process: subprocess.Popen[str]) -> str:
    said = []
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\S+token=\w+", line):
            return found[0]
        said.append(line)
    raise AssertionError(f"JupyterLab ended without an address: {''.join(said)}")


def _await_port(port: int) -> None:
    """JupyterLab prints its address just before it binds the port, and says nothing after."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nothing listens on port {port} after {START_S} s"
            time.sleep(0.02)


def execute(client: BlockingKernelClient, code: str) -> str:
    """Run the code as a cell; what it printed. AssertionError when it raised."""
    said: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])

    reply = client.execute_interactive(code, timeout=START_S, output_hook=keep)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(said)
