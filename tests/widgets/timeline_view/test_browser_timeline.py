"""The timeline to touch in JupyterLab, in its light and dark theme: slider, selection and keys, there and in Python."""

from __future__ import annotations

import re

import pytest
from browser_page import TESTS, Lab, assert_it_fits, output, run_cell, screenshot, set_theme
from playwright.sync_api import Locator, Page, expect

pytest_plugins = ["browser_fixtures"]
SHOW = f"""import sys

sys.path[:0] = {TESTS!r}
from timeline_samples import ddp

from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.widgets import TimelineView

trace, wire = ddp(4), Hardware(None, Link("Ethernet", 50e-6, 5e9))
view = TimelineView(trace.timeline(wire), trace.timeline(), [Hardware(None, Link("NVLink", 3e-6, 200e9))])
view"""
ASK = """link = view.hardware.link
selected = sorted({span.op.name for span in view.selected_spans})
print(link.latency_s, view.timeline == trace.timeline(view.hardware), selected)"""
LAST_LINE = "trace.timeline(view.hardware)"
COUNT = """from ipywidgets.widgets.widget import _instances

print(sum(isinstance(each, TimelineView) for each in _instances.values()), "views")"""


def test_the_timeline_lives_in_a_notebook(lab: Lab) -> None:
    with lab.notebook("timeline.ipynb", SHOW, ASK, LAST_LINE, COUNT) as page:
        run_cell(page, 0)
        card = page.locator(".lab-tl-card").first
        expect(card.get_by_role("slider", name="latency")).to_be_visible()
        latency_s = drag_slider(page, card)
        select(page, card)
        screenshot(page, "timeline_light")
        assert_keys_stay_in_the_picture(page, card)
        assert_its_card_is_the_themes(card, dark=False)
        assert_python_knows(page, latency_s)
        run_cell(page, 2)
        assert_a_timeline_shows_itself(page)
        assert_running_again_leaves_no_view(page)
        set_theme(page, dark=True)
        assert_its_card_is_the_themes(card, dark=True)
        card.scroll_into_view_if_needed()
        screenshot(page, "timeline_dark")
        save(page)
    # The widgets' manager tells of it that nobody knows them any more: their kernel has ended.
    with lab.notebook("timeline.ipynb", dark=True, forgiven="widget model not found") as page:
        assert_it_shows_still_pictures(page)
        screenshot(page, "timeline_still_dark")


def drag_slider(page: Page, card: Locator) -> str:
    """To the right, with the pointer: the picture follows at once, the link is slower."""
    before = card.get_by_role("img").get_attribute("aria-label")
    slider = card.get_by_role("slider", name="latency")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.85 * box["width"], box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    expect(card.get_by_role("img")).not_to_have_attribute("aria-label", before)
    return slider.get_attribute("aria-valuetext")


def select(page: Page, card: Locator) -> None:
    """The first op of the first measured rank."""
    box = card.locator(".lab-tl-area").bounding_box()
    page.mouse.move(box["x"] + 90, box["y"] + 60)
    expect(card.locator(".lab-tl-tip")).to_contain_text("rank 0 compute: start 0 s")
    page.mouse.click(box["x"] + 90, box["y"] + 60)
    expect(card.get_by_role("status")).to_have_text("1 stretch selected, 4.00 ms together")


def assert_keys_stay_in_the_picture(page: Page, card: Locator) -> None:
    """JupyterLab has commands on these keys: b makes a cell, arrows walk, 0 twice restarts the kernel."""
    cells = page.locator(".jp-Cell").count()
    area = card.locator(".lab-tl-area")
    expect(area).to_be_focused()
    view = card.get_attribute("data-view")
    for key in ("+", "ArrowRight"):
        page.keyboard.press(key)
    expect(card).not_to_have_attribute("data-view", view)
    for key in ("b", "0", "0"):
        page.keyboard.press(key)
    expect(card).to_have_attribute("data-view", view)
    assert page.locator(".jp-Cell").count() == cells and page.locator(".jp-Dialog").count() == 0
    page.keyboard.press("Space")
    expect(card.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    slider = card.get_by_role("slider", name="bandwidth")
    slider.focus()
    for key in ("ArrowDown", "b"):
        page.keyboard.press(key)
    expect(slider).to_be_focused()
    assert page.locator(".jp-Cell").count() == cells


def assert_its_card_is_the_themes(card: Locator, dark: bool) -> None:
    colors = card.evaluate("card => [getComputedStyle(card).backgroundColor, getComputedStyle(card).color]")
    assert colors == (["rgb(33, 33, 33)", "rgb(232, 234, 237)"] if dark else ["rgb(252, 252, 250)", "rgb(31, 35, 40)"])
    for cell in card.locator("td, th, button:not([aria-pressed='true']), select").all():
        ink = max(map(int, re.findall(r"\d+", cell.evaluate("node => getComputedStyle(node).color"))[:3]))
        assert ink > 160 if dark else ink < 120, f"{cell} is written in {ink}"
    assert_it_fits(card)


def assert_python_knows(page: Page, latency: str) -> None:
    run_cell(page, 1)
    said = output(page, 1)
    expect(said).to_contain_text("True ['compute']")
    number, unit = latency.split()
    latency_s = float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit]
    assert float(said.inner_text().split()[0]) == pytest.approx(latency_s)
    assert latency_s > 50e-6


def assert_a_timeline_shows_itself(page: Page) -> None:
    card = page.locator(".jp-CodeCell").nth(2).locator(".lab-tl-card")
    expect(card.get_by_role("img", name=re.compile("Timeline of 4 ranks .predicted."))).to_be_visible()
    card.scroll_into_view_if_needed()


def assert_running_again_leaves_no_view(page: Page) -> None:
    """One is the reader's own, `view`; of the timeline that shows itself there is one, however often it is shown."""
    cell = page.locator(".jp-CodeCell").nth(2)
    for times in ("[4]:", "[5]:"):
        run_cell(page, 2)
        expect(cell.locator(".jp-InputPrompt")).to_have_text(times)
    run_cell(page, 3)
    expect(output(page, 3)).to_have_text("2 views")
    expect(cell.locator(".lab-tl-card")).to_be_visible()


def save(page: Page) -> None:
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "timeline.ipynb" in answer.url):
        page.keyboard.press("Control+s")


def assert_it_shows_still_pictures(page: Page) -> None:
    for cell in (0, 2):
        still = page.locator(".jp-CodeCell").nth(cell).locator(".jp-RenderedSVG")
        expect(still).to_be_visible()
        assert still.bounding_box()["width"] > 600
    for words in ("Loading widget", "Error displaying widget"):
        expect(page.locator(".jp-OutputArea-output").filter(has_text=words)).to_have_count(0)
