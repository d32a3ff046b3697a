"""A notebook in JupyterLab in a real browser, for what people see and touch there."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from lab_utils.host import launch
from lab_utils.host.doctor import chromium_path

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SIZE = {"width": 1400, "height": 2000}  # high: JupyterLab takes cells out of sight out of the page
WAIT_MS = 60_000
NOTEBOOK = "bench.ipynb"


@contextmanager
def notebook(*cells: str) -> Iterator[Page]:
    """The page of a notebook whose cells run, in a folder and with settings of its own; all of it is ended after.

    RuntimeError, with the mend, when no browser can be driven here.
    """
    with tempfile.TemporaryDirectory() as folder, _browser_page() as page:
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=kernel), Path(folder, NOTEBOOK))
        token = secrets.token_hex()
        with _jupyterlab(Path(folder), token) as address:
            page.goto(f"{address}lab/tree/{NOTEBOOK}?token={token}&reset", wait_until="domcontentloaded")
            _run_all(page)
            yield page


@contextmanager
def _browser_page() -> Iterator[Page]:
    try:
        from playwright.sync_api import sync_playwright  # only tests and this need it
    except ModuleNotFoundError:
        raise RuntimeError("playwright is not installed, and nothing else drives a browser: run `make test`") from None
    if (path := chromium_path()) is None:
        raise RuntimeError("no Chromium or Chrome is installed: run `make browser`, which installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser.new_page(viewport=SIZE)
        browser.close()


@contextmanager
def _jupyterlab(folder: Path, token: str) -> Iterator[str]:
    """The address of a server whose root is the folder."""
    asked = ["--ServerApp.port=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    line = launch.command(asked, screen=False, root=hasattr(os, "geteuid") and os.geteuid() == 0)
    own = {f"JUPYTER_{name}_DIR": str(folder / f".{name.lower()}") for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings")}
    environ = os.environ | own | launch.paths(os.environ)
    server = subprocess.Popen(line, cwd=folder, env=environ, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        yield _address(server)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)


def _address(server: subprocess.Popen[str]) -> str:
    said: Sequence[str] = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            _wait_until_it_listens(int(found[1]), server)
            return found[0]
    raise RuntimeError(f"JupyterLab ended without an address: {''.join(said[-1:]).strip() or 'it said nothing'}")


def _wait_until_it_listens(port: int, server: subprocess.Popen[str]) -> None:
    """It tells its address a moment before, and nothing afterwards."""
    until_s = time.monotonic() + WAIT_MS / 1e3
    while server.poll() is None and time.monotonic() < until_s:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"JupyterLab does not listen on port {port}, which it said it would")


def _run_all(page: Page) -> None:
    """Once the kernel is there: before that, nothing runs."""
    # JupyterLab may ask for the kernel while it still loads the list of them; nothing else can be clicked until then.
    page.add_locator_handler(page.locator(".jp-Dialog button.jp-mod-accept"), lambda button: button.click())
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=WAIT_MS)
    page.click('.lm-MenuBar-item:has-text("Run")')
    page.click('.lm-Menu-item[data-command="runmenu:run-all"]')
