"""In JupyterLab in a real browser: chapter 00 runs and its timeline is really drawn; the table of ranks lives."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from jupyterlab_server import LABS, Watched, chromium, jupyterlab, open_notebook, run_all
from playwright.sync_api import Locator, Page, expect

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

START = """from lab_utils import start_ranks
from lab_utils.widgets import RanksStatus

ranks = start_ranks(2)
RanksStatus(ranks)"""
MEET = """def meet(gate):
    import torch, torch.distributed as dist

    if dist.get_rank() == 1:
        open(gate).read()
    dist.all_reduce(torch.ones(4))"""
IDLE = "Idle: no call runs."
LIGHT_OR_DARK = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
# How much lighter the words are than their ground: channels of 0 to 255.
LIGHTER = """node => {
    const light = name => {
        const [r, g, b] = getComputedStyle(node)[name].match(/[0-9.]+/g).map(Number);
        return 0.21 * r + 0.72 * g + 0.07 * b;
    };
    return light("color") - light("backgroundColor");
}"""


def code_cells() -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(LABS / CHAPTER, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.timeout(300)
@LIGHT_OR_DARK
def test_chapter_00_runs_and_draws_its_timeline(tmp_path: Path, dark: bool):
    cells = code_cells()
    sources = [cell.source for cell in cells]
    failing = [cell for cell in cells if "raises-exception" in cell.metadata.get("tags", [])]
    with jupyterlab(tmp_path, dark) as address, chromium() as browser:
        watched = Watched(browser)
        page = watched.page
        open_notebook(page, address, CHAPTER)
        assert (page.get_attribute("body", "data-jp-theme-light") == "false") is dark
        run_all(page, len(sources), RUN_TIMEOUT_S)
        shown = page.locator(".jp-CodeCell")
        picture = shown.nth(sources.index("slow.timeline()")).locator("canvas.lab-tl-base")
        picture.scroll_into_view_if_needed()
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"chapter_00_{'dark' if dark else 'light'}.png")
        assert_timeline_is_drawn(picture)
        assert all("6" in line for line in output_lines(shown.nth(sources.index("%%ranks\ndist.all_reduce(x)\nx"))))
        assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == len(failing)
    assert watched.outside == []
    assert watched.errors == []


def assert_timeline_is_drawn(picture: Locator) -> None:
    """All of it is to be seen, and both computing and communication take up room in it."""
    assert picture.evaluate("canvas => canvas.width") > 600
    assert picture.evaluate(
        "canvas => canvas.getBoundingClientRect().right <= canvas.parentElement.getBoundingClientRect().right + 1"
    )
    assert picture.evaluate(COUNT_PIXELS, COMPUTE) > 500
    assert picture.evaluate(COUNT_PIXELS, COMMUNICATION) > 100


def output_lines(cell: Locator) -> list[str]:
    return cell.locator(".jp-OutputArea-output").inner_text().strip().splitlines()


@pytest.mark.timeout(300)
@LIGHT_OR_DARK
def test_the_table_of_ranks_changes_while_a_cell_runs(tmp_path: Path, dark: bool):
    """Rank 1 waits at the gate, in the operating system, until the test opens it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with jupyterlab(tmp_path, dark) as address, chromium() as browser:
        write_notebook(tmp_path / "labs" / "status.ipynb", START, MEET, f"ranks.run(meet, {str(gate)!r})")
        watched = Watched(browser)
        page = watched.page
        open_notebook(page, address, "status.ipynb")
        expect(page.get_by_text("(ipykernel) | Idle")).to_be_visible(timeout=60_000)  # before that, keys run nothing
        run_each(page, 2)
        card = page.locator(".lab-status-card")
        assert_table_for_all(card)
        run_each(page, 1)  # which adds a fourth cell
        prompt = page.locator(".jp-CodeCell").nth(2).locator(".jp-InputPrompt")
        assert_meeting_is_seen(card)
        expect(prompt).to_have_text("[*]:")
        assert (card.evaluate(LIGHTER) > 100) if dark else (card.evaluate(LIGHTER) < -100)
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"ranks_status_{'dark' if dark else 'light'}.png")
        gate.write_text("")
        expect(card.get_by_role("status")).to_have_text(IDLE, timeout=20_000)
        expect(prompt).to_have_text("[3]:")
    assert watched.outside == []
    assert watched.errors == []


def write_notebook(path: Path, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


def run_each(page: Page, cells: int) -> None:
    """Run so many cells, from the active one on."""
    page.locator(".jp-Cell.jp-mod-active .cm-content").click()
    for _ in range(cells):
        page.keyboard.press("Shift+Enter")


def assert_table_for_all(card: Locator) -> None:
    """A table with a name, heads of rows and columns, and a sentence that a screen reader speaks when it changes."""
    expect(card.get_by_role("table", name="What the 2 ranks do")).to_be_visible(timeout=60_000)
    heads = ["rank", "memory", "doing", "for", "waits for"]
    assert card.get_by_role("columnheader").all_inner_texts() == heads
    assert card.get_by_role("rowheader").all_inner_texts() == ["0", "1"]
    says = card.get_by_role("status")
    expect(says).to_have_text(IDLE)
    assert says.get_attribute("aria-live") == "polite"


def assert_meeting_is_seen(card: Locator) -> None:
    """Words tell the state, marks besides; the time grows, so the table lives; all of it is in sight."""
    first, second = card.locator("tbody tr").all()
    expect(first.locator(".doing")).to_contain_text("all_reduce", timeout=30_000)
    expect(first.locator(".waits")).to_have_text("rank 1")
    expect(first.locator("[data-mark=waiting]")).to_be_visible()
    expect(second.locator("[data-mark=computing]")).to_be_visible()
    expect(second.locator(".doing")).to_contain_text("computing")
    for seconds in ("3 s", "4 s"):
        expect(first.locator(".for")).to_have_text(seconds, timeout=20_000)
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth")
