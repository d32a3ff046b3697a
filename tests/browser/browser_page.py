"""Notebooks in JupyterLab in a real browser: what tests do there, and that nothing goes wrong in their pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyterlab_server import LIMIT_MS, TOKEN, Watched, open_notebook, write_theme
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "test-results"
TESTS = sorted({str(path.parent) for path in (ROOT / "tests").rglob("*.py")})  # for the path of a kernel
SIZE = {"width": 1400, "height": 1400}
STDERR = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']"  # what is printed there, and errors
# How light the words of a node are, 0 to 255.
LIGHTNESS = """node => {
    const style = getComputedStyle(node), inSvg = node.ownerSVGElement;
    const [r, g, b] = style[inSvg ? "fill" : "color"].match(/[0-9.]+/g).map(Number);
    return 0.21 * r + 0.72 * g + 0.07 * b;
}"""
# How much lighter the words are than their ground: channels of 0 to 255.
LIGHTER = """node => {
    const light = name => {
        const [r, g, b] = getComputedStyle(node)[name].match(/[0-9.]+/g).map(Number);
        return 0.21 * r + 0.72 * g + 0.07 * b;
    };
    return light("color") - light("backgroundColor");
}"""


class Lab:
    """JupyterLab in a folder, and the browser's context that its pages share: so they are loaded once."""

    def __init__(self, address: str, folder: Path, browser: Browser) -> None:
        self.address, self.labs, self._folder = address, folder / "labs", folder
        self._context = browser.new_context(viewport=SIZE)

    @contextmanager
    def notebook(
        self, name: str, *cells: str, dark: bool = False, forgiven: str = "", room: str = "labs"
    ) -> Iterator[Page]:
        """The page of `name` in labs/, made of these cells if there are any, or in work/, with a kernel of its own.

        Nothing may go wrong in it, but for errors with the words that are forgiven. Its kernel is ended after.
        """
        if cells:
            write_notebook(self.labs / name, *cells)
        write_theme(self._folder, dark)
        watched = Watched(self._context)
        try:
            open_notebook(watched.page, self.address, f"{room}/{name}")
            expect(watched.page.locator("body")).to_have_attribute("data-jp-theme-light", str(not dark).lower())
            yield watched.page
        finally:
            watched.page.close()
            self._end_kernel(f"{room}/{name}")
        assert watched.outside == []
        assert [error for error in watched.errors if not forgiven or forgiven not in error] == []

    def _end_kernel(self, path: str) -> None:
        asks, sessions, known = self._context.request, f"{self.address}api/sessions", {"token": TOKEN}
        for session in asks.get(sessions, params=known).json():
            if session["path"] == path:
                assert asks.delete(f"{sessions}/{session['id']}", params=known, timeout=LIMIT_MS).ok


def write_notebook(path: Path, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


def nbconverted(notebook: Path) -> Path:
    """Write the page that nbconvert makes of it, beside it."""
    page = notebook.with_suffix(".html")
    page.write_text(HTMLExporter().from_notebook_node(nbformat.read(notebook, as_version=4))[0], encoding="utf-8")
    return page


def run_all(page: Page, cells: int) -> None:
    """Clear what is stored, run all cells, and wait until the last of the code cells has its number."""
    page.wait_for_selector(".jp-OutputArea-output", state="attached")  # what is stored must be there to be cleared
    _choose(page, "Edit", "editmenu:clear-all")
    page.wait_for_function("document.querySelector('.jp-OutputArea-output') === null")
    run_every_cell(page, cells)


def run_every_cell(page: Page, cells: int, fails: bool = True) -> None:
    """Wait until the last of the code cells has its number; without `fails` an error of a cell is raised at once."""
    _choose(page, "Run", "runmenu:run-all")
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last.filter(has_text=f"[{cells}]:")
    error = page.locator(STDERR).first
    expect(last if fails else last.or_(error).first).to_be_visible()
    if not fails and error.is_visible():
        raise AssertionError(error.inner_text())


def _choose(page: Page, menu: str, command: str) -> None:
    page.click(f'.lm-MenuBar-item:has-text("{menu}")')
    page.click(f'.lm-Menu-item[data-command="{command}"]')


def run_cell(page: Page, *numbers: int) -> None:
    """Run these cells, one after the other, as a person does; their output comes later."""
    for number in numbers:
        page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")


def output(page: Page, cell: int) -> Locator:
    return page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-output")


def set_theme(page: Page, dark: bool) -> None:
    """By JupyterLab's menu, and wait until it is there and the server has been told."""
    name = f"JupyterLab {'Dark' if dark else 'Light'}"
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).click()
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/settings/" in answer.url):
        page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(not dark).lower())
    expect(page.locator("#jupyterlab-splash")).to_have_count(0)


def screenshot(seen: Page | Locator, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    seen.screenshot(path=SCREENSHOTS / f"{name}.png")


def assert_it_fits(card: Locator) -> None:
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth")
