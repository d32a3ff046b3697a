"""Chapter 00 in JupyterLab in a real browser: it runs from top to bottom, and the timeline is really drawn."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from jupyterlab_server import LABS, Watched, chromium, jupyterlab, open_notebook, run_all
from playwright.sync_api import Locator

CHAPTER = "00_ranks.ipynb"
SCREENSHOTS = Path(__file__).parents[1] / "test-results"
RUN_TIMEOUT_S = 120

# Counts pixels of one colour in an image of the page, drawn at the size it has there.
COUNT_PIXELS = """(image, [r, g, b]) => {
    const canvas = document.createElement("canvas");
    canvas.width = image.width, canvas.height = image.height;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4)
        count += pixels[i] === r && pixels[i + 1] === g && pixels[i + 2] === b;
    return count;
}"""
COMPUTE, COMMUNICATION = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)


def code_cells() -> list[str]:
    notebook = nbformat.read(LABS / CHAPTER, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_chapter_00_runs_and_draws_its_timeline(tmp_path: Path, dark: bool):
    sources = code_cells()
    with jupyterlab(tmp_path, dark) as address, chromium() as browser:
        watched = Watched(browser)
        page = watched.page
        open_notebook(page, address, CHAPTER)
        assert (page.get_attribute("body", "data-jp-theme-light") == "false") is dark
        run_all(page, len(sources), RUN_TIMEOUT_S)
        cells = page.locator(".jp-CodeCell")
        image = cells.nth(sources.index("slow.timeline()")).locator("img")
        image.scroll_into_view_if_needed()
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"chapter_00_{'dark' if dark else 'light'}.png")
        assert_timeline_is_drawn(image)
        assert all("6" in line for line in output_lines(cells.nth(sources.index("%%ranks\ndist.all_reduce(x)\nx"))))
        assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 1
    assert watched.outside == []
    assert watched.errors == []


def assert_timeline_is_drawn(image: Locator) -> None:
    """All of it is to be seen, and both computing and communication take up room in it."""
    assert image.evaluate("image => image.complete && image.width") > 600
    assert image.evaluate(
        "image => image.getBoundingClientRect().right <= image.parentElement.getBoundingClientRect().right"
    )
    assert image.evaluate(COUNT_PIXELS, COMPUTE) > 500
    assert image.evaluate(COUNT_PIXELS, COMMUNICATION) > 100


def output_lines(cell: Locator) -> list[str]:
    return cell.locator(".jp-OutputArea-output").inner_text().strip().splitlines()
