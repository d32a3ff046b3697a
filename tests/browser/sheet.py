"""`make sheet`: screenshots of every widget, card and still picture, each as it looks in six places, on one page.

In JupyterLab light, dark, in a window of 900 px, at a zoom of 150 %, without a kernel, and as nbconvert writes it. They
go to test-results/sheet/, with index.html and sheet.png, which show all of them side by side.
"""

from __future__ import annotations

import html
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from browser_page import SCREENSHOTS, SIZE, Lab, nbconverted, run_every_cell, set_theme
from card_samples import CELLS, START
from jupyterlab_server import LIMIT_MS, chromium, jupyterlab
from playwright.sync_api import Browser, Locator, Page, expect

FOLDER = SCREENSHOTS / "sheet"
NOTEBOOK = "sheet.ipynb"
PLACES = ("light", "dark", "900 px", "150 %", "dark, no kernel", "nbconvert")
# Taller than any card: of what is taller than the window only a part is seen, behind JupyterLab's bars.
WIDE, NARROW = {**SIZE, "height": 1800}, {"width": 900, "height": 1800}
ZOOMED = {"width": 933, "height": 1800, "deviceScaleFactor": 1.5, "mobile": False}  # 1400 px seen at 150 %
STYLE = "body { font: 15px system-ui; background: #888 } td { vertical-align: top } img { max-width: 700px }"


def make(browser: Browser, folder: Path) -> None:
    expect.set_options(timeout=LIMIT_MS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with jupyterlab(folder) as address:
        lab = Lab(address, folder, browser)
        with lab.notebook(NOTEBOOK, START, *CELLS.values()) as page:
            page.set_viewport_size(WIDE)
            run_cells(page)
            shoot("light", in_jupyterlab(page))
            page.set_viewport_size(NARROW)
            shoot("900 px", in_jupyterlab(page))
            page.set_viewport_size({name: ZOOMED[name] for name in ("width", "height")})  # which pictures are cut by
            zoom = page.context.new_cdp_session(page)
            zoom.send("Emulation.setDeviceMetricsOverride", ZOOMED)
            shoot("150 %", in_jupyterlab(page))
            zoom.send("Emulation.clearDeviceMetricsOverride")
            page.set_viewport_size(WIDE)
            set_theme(page, dark=True)
            shoot("dark", in_jupyterlab(page))
            with page.expect_response(lambda answer: answer.request.method == "PUT" and NOTEBOOK in answer.url):
                page.keyboard.press("Control+s")
        with lab.notebook(NOTEBOOK, dark=True, forgiven="widget model not found") as page:
            shoot("dark, no kernel", in_jupyterlab(page))
        with browser.new_context(viewport=SIZE).new_page() as page:
            page.goto(nbconverted(lab.labs / NOTEBOOK).as_uri())
            shoot("nbconvert", lambda cell: page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputWrapper"))
    write_index(browser)


def run_cells(page: Page) -> None:
    """All of them, and give what moves, or comes late, the time to come."""
    run_every_cell(page, 1 + len(CELLS), fails=False)
    page.wait_for_timeout(2000)


def in_jupyterlab(page: Page) -> Callable[[int], Locator]:
    return lambda cell: page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea").first


def shoot(place: str, output_of: Callable[[int], Locator]) -> None:
    for cell, name in enumerate(CELLS, start=1):
        output = output_of(cell)
        output.scroll_into_view_if_needed()
        output.page.wait_for_timeout(200)
        output.screenshot(path=FOLDER / file_name(name, place))


def file_name(name: str, place: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in f"{name} {place}") + ".png"


def image(name: str) -> Callable[[str], str]:
    return lambda place: f'<td><img src="{file_name(name, place)}" alt="{html.escape(name)}, {place}"></td>'


def write_index(browser: Browser) -> None:
    """A row for each sample, a column for each place."""
    head = "".join(f"<th>{place}</th>" for place in PLACES)
    rows = "".join(f"<tr><th>{html.escape(name)}</th>{''.join(map(image(name), PLACES))}</tr>" for name in CELLS)
    index = FOLDER / "index.html"
    page_text = f"<!doctype html><style>{STYLE}</style><table><tr><th></th>{head}</tr>{rows}</table>"
    index.write_text(page_text, encoding="utf-8")
    with browser.new_context(viewport={"width": 4500, "height": 1000}).new_page() as page:
        page.goto(index.as_uri())
        page.screenshot(path=FOLDER / "sheet.png", full_page=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        make(browser, Path(folder))
    print(FOLDER / "index.html")
