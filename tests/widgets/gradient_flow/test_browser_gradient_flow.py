"""Gradient flow in JupyterLab in a real browser: play, scrub, hover, select; light and dark."""

from __future__ import annotations

from browser_page import LIGHTER, LIGHTNESS, TESTS, Lab, assert_it_fits, output, run_cell, screenshot, set_theme
from playwright.sync_api import Locator, Page, expect

pytest_plugins = ["browser_fixtures"]
RECORD = f"""import sys
sys.path[:0] = {TESTS!r}
import gradient_programs as programs
from lab_utils import start_ranks
from lab_utils.widgets.gradient_flow.widget import GradientFlow

ranks = start_ranks(2)
trace = ranks.record(programs.hooks_of_its_own)
flow = GradientFlow(trace, [record for record, *_ in trace.results])
flow"""
SELECTED = "print('selected:', flow.selected)"


def test_gradients_flow(lab: Lab) -> None:
    with lab.notebook("flow.ipynb", RECORD, SELECTED) as page:
        run_cell(page, 0)
        card = page.locator(".lab-flow-card")
        expect(card.locator("svg")).to_be_visible()
        assert_it_tells(card)
        assert_it_scrubs(page, card)
        screenshot(card, "gradient_flow_light")
        assert_it_plays(card)
        run_cell(page, 1)
        expect(output(page, 1)).to_have_text("selected: 6.weight")
        assert_it_fits(card)
        assert_it_is_seen_in_the_dark(page, card)


def assert_it_is_seen_in_the_dark(page: Page, card: Locator) -> None:
    """Card, words and picture turn with the theme, though the picture is the one that Python drew."""
    words = card.locator("svg text").first
    for dark in (False, True):
        if dark:
            set_theme(page, dark)
        assert card.evaluate(LIGHTER) > 180 if dark else card.evaluate(LIGHTER) < -180
        assert words.evaluate(LIGHTNESS) > 200 if dark else words.evaluate(LIGHTNESS) < 60
    screenshot(card, "gradient_flow_dark")


def assert_it_tells(card: Locator) -> None:
    """Words for who cannot see it; a pointer brings the layer's own; shapes beside colours for what is wrong."""
    says = card.get_by_role("status")
    expect(says).to_contain_text("rank 0: 8 of 8 gradients ready, 7 back from the wire")
    expect(card.locator("svg text", has_text="NaN")).to_have_count(2)
    card.locator("[data-row]").nth(1).hover()
    expect(says).to_contain_text("6.weight · 1 × 16 · 128 bytes · bucket 1")
    expect(says).to_contain_text("disagreement after 0")
    card.locator("[data-bucket='2'] rect").last.hover(force=True)
    expect(says).to_contain_text("all_reduce · group world")


def assert_it_scrubs(page: Page, card: Locator) -> None:
    """Dragging the slider hides what has not happened yet; arrows move on, and select."""
    slider = card.get_by_role("slider", name="time in the backward pass")
    box = slider.bounding_box()
    expect(card).to_have_attribute("data-at", "1")  # of the whole backward
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    at, clip = float(card.get_attribute("data-at")), card.locator("clipPath rect")
    assert 0 < at < 1
    expect(card.locator(".lab-flow-head")).to_have_css("display", "inline")  # a line has no width to be seen by
    width = float(clip.get_attribute("width"))
    page.keyboard.press("ArrowRight")
    assert float(card.get_attribute("data-at")) > at and float(clip.get_attribute("width")) > width
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(card.locator(".lab-flow-chosen")).to_have_count(1)
    expect(card.locator(".lab-flow-with").first).to_have_attribute("data-bucket", "1")


def assert_it_plays(card: Locator) -> None:
    card.press("Home")
    expect(card.get_by_role("status")).to_contain_text("6.weight")  # a selected layer stays in the words
    card.get_by_role("button", name="Play").click()
    expect(card).to_have_attribute("data-playing", "true")
    card.page.wait_for_function("card => Number(card.dataset.at) > 0", arg=card.element_handle())
    card.get_by_role("button", name="Pause").click()
    expect(card).to_have_attribute("data-playing", "false")
    card.press("End")
    expect(card.locator(".lab-flow-head")).to_have_css("display", "none")
