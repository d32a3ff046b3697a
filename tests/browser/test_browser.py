"""In JupyterLab in a real browser: chapter 00 runs and its timeline is really drawn; the table of ranks lives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser_page import LIGHTER, STDERR, Lab, assert_it_fits, output, run_all, run_cell, screenshot, set_theme
from jupyterlab_server import LABS
from playwright.sync_api import Locator, Page, expect

from lab_utils.render import palette

pytest_plugins = ["browser_fixtures"]
CHAPTER = "00_ranks.ipynb"

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
COMPUTE, COMMUNICATION = (palette.ACTIVITIES[name].fill for name in ("compute", "communication"))

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
SECONDS = {"s": 1, "min": 60, "h": 3600}


def code_cells() -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(LABS / CHAPTER, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_table_of_ranks_changes_while_a_cell_runs(lab: Lab, tmp_path: Path) -> None:
    """Rank 1 waits at the gate, in the operating system, until the test opens it; meanwhile we look in both themes."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with lab.notebook("status.ipynb", START, MEET, f"ranks.run(meet, {str(gate)!r})") as page:
        run_cell(page, 0, 1)
        card = page.locator(".lab-status-card")
        assert_table_for_all(card)
        run_cell(page, 2)
        prompt = page.locator(".jp-CodeCell").nth(2).locator(".jp-InputPrompt")
        assert_meeting_is_seen(card)
        expect(prompt).to_have_text("[*]:")
        assert card.evaluate(LIGHTER) < -100
        screenshot(page, "ranks_status_light")
        set_theme(page, dark=True)
        assert card.evaluate(LIGHTER) > 100
        assert_meeting_is_seen(card)
        screenshot(page, "ranks_status_dark")
        gate.write_text("", encoding="utf-8")
        expect(card.get_by_role("status")).to_have_text(IDLE)
        expect(prompt).to_have_text("[3]:")


def assert_table_for_all(card: Locator) -> None:
    """A table with a name, heads of rows and columns, and a sentence that a screen reader speaks when it changes."""
    expect(card.get_by_role("table", name="What the 2 ranks do")).to_be_visible()
    heads = ["rank", "memory", "doing", "for", "waits for"]
    assert card.get_by_role("columnheader").all_inner_texts() == heads
    assert card.get_by_role("rowheader").all_inner_texts() == ["0", "1"]
    says = card.get_by_role("status")
    expect(says).to_have_text(IDLE)
    assert says.get_attribute("aria-live") == "polite"


def assert_meeting_is_seen(card: Locator) -> None:
    """Words tell the state, marks besides; the time grows, so the table lives; all of it is in sight."""
    first, second = card.locator("tbody tr").all()
    expect(first.locator(".lab-status-doing")).to_contain_text("all_reduce")
    expect(first.locator(".lab-status-waits")).to_have_text("rank 1")
    expect(first.locator("[data-mark=waiting]")).to_be_visible()
    expect(second.locator("[data-mark=computing]")).to_be_visible()
    expect(second.locator(".lab-status-doing")).to_contain_text("computing")
    since = first.locator(".lab-status-for")
    expect(since).to_have_text(re.compile(r"^\d+ (s|min|h)$"))
    seen = since.inner_text()
    expect(since).not_to_have_text(seen)
    assert seconds(since.inner_text()) > seconds(seen)
    assert_it_fits(card)


def seconds(text: str) -> int:
    number, unit = text.split()
    return int(number) * SECONDS[unit]


@pytest.fixture(scope="module")
def chapter(lab: Lab) -> Iterator[Page]:
    """Run once: what it shows does not depend on the theme that it is then looked at in."""
    with lab.notebook(CHAPTER) as page:
        run_all(page, len(code_cells()))
        yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_chapter_00_runs_and_draws_its_timeline(chapter: Page, dark: bool) -> None:
    cells = code_cells()
    sources = [cell.source for cell in cells]
    if dark:
        set_theme(chapter, dark)
    picture = chapter.locator(".jp-CodeCell").nth(sources.index("slow.timeline()")).locator("canvas.lab-tl-base")
    picture.scroll_into_view_if_needed()
    screenshot(chapter, f"chapter_00_{'dark' if dark else 'light'}")
    assert_timeline_is_drawn(picture, dark)
    said = output(chapter, sources.index("%%ranks\nx")).inner_text()
    assert all("6" in line for line in said.strip().splitlines())
    failing = [cell for cell in cells if "raises-exception" in cell.metadata.get("tags", [])]
    expect(chapter.locator(STDERR)).to_have_count(len(failing))


def assert_timeline_is_drawn(picture: Locator, dark: bool) -> None:
    """All of it is to be seen, and both computing and communication take up room in it, in the theme's colours."""
    assert picture.evaluate("canvas => canvas.width") > 600
    assert picture.evaluate(
        "canvas => canvas.getBoundingClientRect().right <= canvas.parentElement.getBoundingClientRect().right + 1"
    )
    assert picture.evaluate(COUNT_PIXELS, channels(COMPUTE, dark)) > 500
    assert picture.evaluate(COUNT_PIXELS, channels(COMMUNICATION, dark)) > 100


def channels(color: str, dark: bool) -> list[int]:
    shown = palette.DARK[color] if dark else color
    return [int(shown[at : at + 2], 16) for at in (1, 3, 5)]


@pytest.mark.parametrize(("room", "unsaved"), [("labs", 1), ("work", 0)])
def test_a_readers_copy_is_not_unsaved_on_opening_it(room: str, unsaved: int, lab: Lab) -> None:
    """JupyterLab writes the kernel's language into the notebook. A copy has it already, the chapter has not."""
    with lab.notebook("01_data.ipynb", room=room) as page:
        page.wait_for_timeout(3000)  # the kernel has answered by then, but what follows from that has no other sign
        expect(page.locator(".lm-TabBar-tab.jp-mod-current.jp-mod-dirty")).to_have_count(unsaved)
