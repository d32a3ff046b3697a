"""JupyterLab on a copy of the chapters, as `make lab` starts it, and pages of a real browser that look at it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
from server_ends import end, killed_if_it_fails

from lab_utils.host.doctor import chromium_path

LABS = Path(__file__).parents[2] / "labs"
TOKEN = "of-the-test"
LIMIT_MS = 600_000  # for whatever is waited for: the machine may be busy
FLAGS = [
    *"--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split(),
    *"--disable-component-update --disable-sync --no-proxy-server".split(),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # pages reach this machine only
]
# All cells stay in the page: JupyterLab takes those out of sight away, and nobody scrolls here.
SETTINGS = {"windowingMode": "none", "autoStartDefaultKernel": True}


@contextmanager
def jupyterlab(folder: Path, dark: bool = False) -> Iterator[str]:
    """Serve a copy of labs/ in `folder`; gives the address of its root, ends the server and all its kernels."""
    shutil.copytree(LABS, folder / "labs")
    _write_settings(folder, "notebook-extension", "tracker", SETTINGS)
    write_theme(folder, dark)
    own = {
        name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "lab_utils", "lab", "--no-browser", "--ServerApp.port=0",
         f"--IdentityProvider.token={TOKEN}"],
        cwd=folder, env=os.environ | own | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    with server.stderr:
        with killed_if_it_fails(server):
            address = _address(server)
        said: list[str] = []
        reader = threading.Thread(target=said.extend, args=[server.stderr], daemon=True)  # else its pipe fills up
        reader.start()
        try:
            yield address
        finally:
            end(server, address)
        reader.join()


def write_theme(folder: Path, dark: bool) -> None:
    """Which theme pages have that are opened from now on, of the server in this folder."""
    _write_settings(folder, "apputils-extension", "themes", {"theme": f"JupyterLab {'Dark' if dark else 'Light'}"})


def _write_settings(folder: Path, extension: str, name: str, content: dict[str, Any]) -> None:
    plugin = folder / "settings" / "@jupyterlab" / extension
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / f"{name}.jupyterlab-settings").write_text(json.dumps(content), encoding="utf-8")


def _address(server: subprocess.Popen) -> str:
    """The server says its address once it listens; what else it says comes with the error when it never does."""
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return found[0]
    raise RuntimeError(f"JupyterLab ended without an address: {''.join(said)}")


@contextmanager
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        raise RuntimeError("no Chromium or Chrome is installed: run `make browser`, which installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A new page; what it asked for outside this machine, where it reaches nothing, and its errors are kept."""

    def __init__(self, opener: Browser | BrowserContext):
        self.page: Page = opener.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._keep_outside)  # a route would keep the browser from its cache
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _keep_outside(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.outside.append(request.url)


def open_notebook(page: Page, address: str, path: str) -> None:
    """Open the notebook and wait until its kernel is there: before that, keys run nothing."""
    # JupyterLab may ask for the kernel while it still loads the list of them; nothing else can be clicked until then.
    page.add_locator_handler(page.locator(".jp-Dialog button.jp-mod-accept"), lambda button: button.click())
    page.goto(f"{address}lab/tree/{path}?token={TOKEN}&reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    expect(page.get_by_text("(ipykernel) | Idle")).to_be_visible(timeout=LIMIT_MS)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
