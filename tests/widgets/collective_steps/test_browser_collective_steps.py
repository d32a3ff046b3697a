"""A learner's ring in JupyterLab in a real browser: it goes round by round, plays, scrubs, tells, and sets `round`."""

from __future__ import annotations

from browser_page import LIGHTER, LIGHTNESS, TESTS, Lab, assert_it_fits, output, run_cell, screenshot, set_theme
from playwright.sync_api import Locator, Page, expect

pytest_plugins = ["browser_fixtures"]
RECORD = f"""import sys
sys.path[:0] = {TESTS!r}
import chunk_programs as programs
from lab_utils import start_ranks
from lab_utils.widgets.collective_steps.widget import CollectiveSteps

ranks = start_ranks(4)
trace = ranks.record(programs.followed, "my ring", 1000)
ring = CollectiveSteps(trace, [log for log, _ in trace.results], "my ring")
ring"""
# Where a line's middle is on the page: most of what is around it is not the line.
MIDDLE = """line => {
    const {x, y} = line.getPointAtLength(line.getTotalLength() / 2).matrixTransform(line.getScreenCTM());
    return [x, y];
}"""
ROUND = "print('round:', ring.round)"


def test_a_ring_goes_round_by_round(lab: Lab) -> None:
    """One page for both themes: starting ranks takes longer than all that is looked at."""
    with lab.notebook("rounds.ipynb", RECORD, ROUND) as page:
        run_cell(page, 0)
        card = page.locator(".lab-rounds-card")
        expect(card.locator("svg")).to_be_visible()
        assert_it_goes_round_by_round(card)
        assert_keys_stay_in_the_card(page, card)
        assert_it_tells(card)
        assert_it_scrubs(page, card)
        card.scroll_into_view_if_needed()
        page.mouse.move(0, 0)
        screenshot(page, "collective_steps_light")
        set_theme(page, dark=True)
        screenshot(page, "collective_steps_dark")
        assert card.get_by_role("status").evaluate(LIGHTNESS) > 180
        assert card.evaluate(LIGHTER) > 180
        assert card.locator("svg text").first.evaluate(LIGHTNESS) > 200
        assert_it_plays(card)
        run_cell(page, 1)
        expect(output(page, 1)).to_have_text("round: 6")
        assert_it_fits(card)


def label(card: Locator, rank: int, chunk: int) -> Locator:
    return card.locator(f"[data-cell='{rank} {chunk}'] text")


def assert_it_goes_round_by_round(card: Locator) -> None:
    """With keys and with buttons; a cell has what has come together in it, an arrow for each message."""
    says = card.get_by_role("status")
    expect(says).to_contain_text("before the first of 6 rounds")
    expect(label(card, 1, 0)).to_have_text("1")
    card.focus()
    card.press("ArrowRight")
    expect(says).to_contain_text("round 1 of 6: 4 messages, 4.00 kB, receivers add it")
    expect(says).to_contain_text("0 → 1: chunk 0 (0), 1.00 kB, chunk_programs.py:")
    expect(label(card, 1, 0)).to_have_text("0+1")
    expect(card.locator("[data-arrows='1'] [data-message]").first).to_be_visible()
    card.get_by_role("button", name="next round").click()
    expect(label(card, 2, 0)).to_have_text("0+1+2")
    expect(card.locator("[data-arrows='1'] [data-message]").first).to_be_hidden()
    card.get_by_role("button", name="previous round").click()
    expect(label(card, 2, 0)).to_have_text("2")
    card.press("End")
    expect(label(card, 3, 3)).to_have_text("✓ all")
    expect(says).to_contain_text("the result of every rank is complete and in order")
    card.press("Home")
    expect(card).to_have_attribute("data-at", "0")


def assert_keys_stay_in_the_card(page: Page, card: Locator) -> None:
    """JupyterLab has commands on these keys, b makes a cell, also while a button or the slider has the focus."""
    cells = page.locator(".jp-Cell").count()
    for place in (card.get_by_role("button", name="Play"), card.get_by_role("slider"), card):
        place.focus()
        place.press("b")
        place.press("End")
        expect(card).to_have_attribute("data-at", "6")
        place.press("Home")
        expect(card).to_have_attribute("data-at", "0")
    assert page.locator(".jp-Cell").count() == cells


def assert_it_tells(card: Locator) -> None:
    """A pointer brings the words of the cell or the message under it."""
    says = card.get_by_role("status")
    card.press("ArrowRight")
    card.locator("[data-cell='1 0']").hover()
    expect(says).to_have_text("rank 1, chunk 0, elements 0 to 249 of each part, 1.00 kBholds 0+1, without ranks 2, 3")
    card.page.mouse.move(*card.locator("[data-arrows='1'] [pointer-events=visibleStroke]").first.evaluate(MIDDLE))
    expect(says).to_contain_text("0 → 1: chunk 0")
    expect(says).not_to_contain_text("1 → 2")
    card.page.mouse.move(0, 0)
    expect(says).to_contain_text("1 → 2: chunk 1")


def assert_it_scrubs(page: Page, card: Locator) -> None:
    """Between two rounds chunks are on their way; let go, the slider takes the nearer round."""
    box = card.get_by_role("slider", name="rounds of the collective").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.56, box["y"] + box["height"] / 2, steps=6)
    expect(card.locator(".lab-rounds-moving > g")).to_have_count(4)
    way = card.locator(".lab-rounds-moving > g").first.get_attribute("transform")
    page.mouse.move(box["x"] + box["width"] * 0.59, box["y"] + box["height"] / 2, steps=3)
    expect(card.locator(".lab-rounds-moving > g").first).not_to_have_attribute("transform", way)
    assert 3 < float(card.get_attribute("data-at")) < 4
    expect(card.get_by_role("status")).to_contain_text("round 4 of 6: 4 messages, 4.00 kB, receivers keep it")
    page.mouse.up()
    expect(card).to_have_attribute("data-at", "4")
    expect(card.locator(".lab-rounds-moving > g")).to_have_count(0)


def assert_it_plays(card: Locator) -> None:
    card.press("Home")
    card.press(" ")
    expect(card).to_have_attribute("data-playing", "true")
    card.page.wait_for_function("card => Number(card.dataset.at) > 0.4", arg=card.element_handle())
    card.get_by_role("button", name="Pause").click()
    expect(card).to_have_attribute("data-playing", "false")
    card.press("End")
    expect(card).to_have_attribute("data-at", "6")
