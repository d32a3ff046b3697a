"""Started once per test process: a browser, and JupyterLab on the chapters. For a test file's `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_page import Lab
from jupyterlab_server import LIMIT_MS, Watched, chromium, jupyterlab
from playwright.sync_api import Browser, Page, expect
from widget_page import empty


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=LIMIT_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def idle() -> list[Watched]:
    """Bare pages for the tests to come: to open one takes longer than most of them."""
    return []


@pytest.fixture
def page(browser: Browser, idle: list[Watched], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A bare page, in which nothing may go wrong."""
    failed, watched = request.session.testsfailed, idle.pop() if idle else Watched(browser)
    empty(watched.page)
    yield watched.page
    empty(watched.page)  # and what went wrong is known by now
    watched.assert_well()
    if request.session.testsfailed == failed:  # else a key or a button may still be pressed
        idle.append(watched)


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as address:
        yield Lab(address, folder, browser)
