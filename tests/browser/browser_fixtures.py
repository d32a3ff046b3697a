"""Started once per test process: a browser, and JupyterLab on the chapters. For a test file's `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_page import Lab
from jupyterlab_server import LIMIT_MS, chromium, jupyterlab
from playwright.sync_api import Browser, Page, expect
from widget_page import quiet_page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=LIMIT_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A bare page, in which nothing may go wrong while it is open."""
    with quiet_page(browser) as page:
        yield page


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as address:
        yield Lab(address, folder, browser)
