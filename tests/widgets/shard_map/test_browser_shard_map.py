"""The shard map in a real browser: it tells what is pointed at, switches kinds, selects, all by keyboard; also dark."""

from __future__ import annotations

import pytest
from browser_page import LIGHTER, TESTS, Lab, assert_it_fits, output, run_cell, screenshot
from playwright.sync_api import Locator, Page, expect
from shard_samples import sample
from widget_page import show

from lab_utils.widgets.shard_map.widget import ShardMap

pytest_plugins = ["browser_fixtures"]
CELL = f"""import sys
sys.path[:0] = {TESTS!r}
from lab_utils import start_ranks
from lab_utils.widgets.shard_map.widget import ShardMap

def step():
    import holdings_programs

    return holdings_programs.zero_1()

ranks = start_ranks(2)
shards = ShardMap(ranks.run(step))
shards"""
SELECTED = "print('selected:', shards.kind, shards.selected, 'torch' in sys.modules)"


@pytest.fixture
def card(page: Page) -> Locator:
    show(page, ShardMap(sample()))
    return page.locator(".lab-shards-card")


def saved(page: Page, name: str) -> list[str]:
    """What went back to Python under that name."""
    return page.evaluate("name => window.saved.flatMap((one) => (name in one ? [one[name]] : []))", name)


def test_it_tells_what_is_pointed_at(card: Locator) -> None:
    says = card.get_by_role("status")
    expect(says).to_contain_text("arrow keys")
    card.locator("[data-rank='3']:not([data-row])").hover()
    expect(says).to_contain_text("rank 3 · dp 1, tp 1 · 233 kB in all")
    expect(says).to_contain_text("optimizer state: 115 kB of 460 kB, 1/4")
    card.locator("[data-row='1'][data-rank='2']").hover()
    expect(says).to_contain_text("blocks.0.attention.weight · 192 × 64 · float32 · 49.2 kB")
    expect(says).to_contain_text("rank 2 · dp 1, tp 0: [96:192, 0:32] · 12.3 kB, 1/4 · no other rank has it")
    assert says.get_attribute("aria-live") == "off"  # a pointer that passes over many is not read out
    card.page.mouse.move(0, 0)
    expect(says).to_contain_text("arrow keys")
    assert card.locator("svg title").count() == 1  # else the browser shows marks' words a second time


def test_buttons_switch_what_is_shown(card: Locator) -> None:
    kinds = ["parameters", "gradients", "optimizer state", "activations"]
    assert card.get_by_role("button").all_inner_texts() == [*kinds, "?"]
    expect(card.get_by_role("button", pressed=True)).to_have_text("parameters")
    card.get_by_role("button", name="optimizer state").click()
    expect(card.get_by_role("button", pressed=True)).to_have_text("optimizer state")
    expect(card.locator("svg")).to_contain_text("each rank holds 1/4 of the optimizer state: 115 kB of 460 kB")
    card.get_by_role("button", name="activations").press("Enter")
    expect(card.locator("svg")).to_contain_text("each rank keeps 3.00 kB of activations")
    assert saved(card.page, "kind") == ["optimizer state", "activation"]


def test_a_click_selects_a_tensor_and_a_rank(card: Locator) -> None:
    says, page = card.get_by_role("status"), card.page
    card.locator("[data-row='2'][data-rank='1']").click()
    page.mouse.move(0, 0)
    expect(says).to_contain_text("rank 1 · dp 0, tp 1: [0:128, 32:64]")
    assert saved(page, "selected") == ["blocks.0.mlp.up.weight"]
    expect(card.locator(".lab-shards-chosen")).to_have_attribute("data-row", "2")
    assert card.locator(".lab-shards-of-rank").count() == 1 + 6  # the rank's card and its cell in every row
    card.get_by_role("button", name="gradients").click()
    expect(card.locator(".lab-shards-chosen")).to_have_attribute("data-row", "2")  # gradients have that name too
    card.get_by_role("button", name="activations").click()
    expect(card.locator(".lab-shards-chosen")).to_have_count(0)
    assert saved(page, "selected")[-1] == ""


def test_all_of_it_works_by_keyboard(card: Locator) -> None:
    says, page = card.get_by_role("status"), card.page
    page.keyboard.press("Tab")
    assert "Left and right choose what is shown" in page.evaluate("document.activeElement.ariaLabel")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(says).to_contain_text("blocks.0.attention.weight · 192 × 64")
    assert says.locator("div").count() == 5 and says.get_attribute("aria-live") == "polite"
    page.keyboard.press("PageDown")
    expect(says).to_contain_text("rank 0 · dp 0, tp 0: [0:96, 0:32]")
    page.keyboard.press("ArrowRight")
    expect(card).to_have_attribute("data-kind", "gradient")
    page.keyboard.press("Escape")
    expect(says).to_contain_text("arrow keys")
    page.keyboard.press("ArrowUp")
    expect(says).to_contain_text("blocks.1.mlp.up.weight")
    page.keyboard.press("Home")
    expect(says).to_contain_text("blocks.0.norm.weight")
    for place in (page.locator(".lab-shards-card"), *card.get_by_role("button").all()):
        assert place.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_sixty_four_ranks_switch_at_once(page: Page) -> None:
    """Within the click: no message to Python and no later frame draws the other picture."""
    show(page, ShardMap(sample(8, 8, layers=24)))
    card = page.locator(".lab-shards-card")
    assert card.locator("[data-rank]:not([data-row])").count() == 64
    drawn = page.evaluate("""() => {
        document.querySelectorAll(".lab-shards-kinds button")[2].click();
        return [...document.querySelectorAll(".lab-card-picture svg text")].map((words) => words.textContent);
    }""")
    assert any(words.startswith("each rank holds 1.6 % of the optimizer state: 87.6 kB") for words in drawn)
    expect(card).to_have_attribute("data-kind", "optimizer state")


def test_in_jupyterlab_in_the_dark(lab: Lab) -> None:
    """From real ranks; the keys do what they do here and nothing in the notebook; the card is light in the dark."""
    with lab.notebook("shards.ipynb", CELL, SELECTED, dark=True) as page:
        run_cell(page, 0)
        card = page.locator(".lab-shards-card")
        expect(card.locator("svg")).to_be_visible()
        card.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        expect(card).to_have_attribute("data-kind", "optimizer state")
        expect(card.get_by_role("status")).to_contain_text("rank 0: [0:10, 0:16] · 1.28 kB, all · no other rank has it")
        expect(card.get_by_role("status")).to_contain_text("rank 1: nothing of it")
        screenshot(page, "shard_map_dark")
        assert card.get_by_role("button", name="parameters").evaluate(LIGHTER) > 100
        assert_it_fits(card)
        run_cell(page, 1)
        expect(output(page, 1)).to_have_text("selected: optimizer state 0.weight False")
