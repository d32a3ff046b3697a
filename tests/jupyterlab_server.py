"""JupyterLab on a copy of the chapters, as `make lab` starts it, and pages of a real browser that look at it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, sync_playwright

from lab_utils.doctor import chromium_path

LABS = Path(__file__).parents[1] / "labs"
TOKEN = "of-the-test"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# All cells stay in the page: JupyterLab takes those out of sight away, and nobody scrolls here.
SETTINGS = {"tracker": {"windowingMode": "none", "autoStartDefaultKernel": True}}
DARK = {"themes": {"theme": "JupyterLab Dark"}}


@contextmanager
def jupyterlab(folder: Path, dark: bool = False) -> Iterator[str]:
    """Serve a copy of labs/ in `folder`; gives the address of its root, ends the server and all its kernels."""
    shutil.copytree(LABS, folder / "labs")
    _write_settings(folder / "settings", dark)
    own = {
        name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "lab_utils", "lab", "--no-browser", "--ServerApp.port=0",
         f"--IdentityProvider.token={TOKEN}"],
        cwd=folder, env=os.environ | own | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield _address(server)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)


def _write_settings(folder: Path, dark: bool) -> None:
    places = {"tracker": "notebook-extension", "themes": "apputils-extension"}
    for name, content in {**SETTINGS, **(DARK if dark else {})}.items():
        plugin = folder / "@jupyterlab" / places[name]
        plugin.mkdir(parents=True)
        (plugin / f"{name}.jupyterlab-settings").write_text(json.dumps(content))


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
    """A page that may reach this machine only; what it asked for elsewhere, and its errors, are kept."""

    def __init__(self, browser: Browser):
        self.page: Page = browser.new_page(viewport={"width": 1400, "height": 1400})
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.route("**/*", self._only_here)
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _only_here(self, route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()


def open_notebook(page: Page, address: str, name: str) -> None:
    """Open labs/`name` and wait until its kernel is there."""
    # JupyterLab may ask for the kernel while it still loads the list of them; nothing else can be clicked until then.
    page.add_locator_handler(page.locator(".jp-Dialog button.jp-mod-accept"), lambda button: button.click())
    page.goto(f"{address}lab/tree/labs/{name}?token={TOKEN}&reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=60_000)


def run_all(page: Page, cells: int, timeout_s: float) -> None:
    """Clear what is stored, run all cells, and wait until the last of the code cells has its number."""
    page.wait_for_selector(".jp-OutputArea-output", state="attached")  # what is stored must be there to be cleared
    _choose(page, "Edit", "editmenu:clear-all")
    page.wait_for_function("document.querySelector('.jp-OutputArea-output') === null")
    _choose(page, "Run", "runmenu:run-all")
    page.wait_for_function(
        "n => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].at(-1).innerText.trim() === `[${n}]:`",
        arg=cells, timeout=timeout_s * 1000,
    )  # fmt: skip


def _choose(page: Page, menu: str, command: str) -> None:
    page.click(f'.lm-MenuBar-item:has-text("{menu}")')
    page.click(f'.lm-Menu-item[data-command="{command}"]')
