"""ScheduleExplorer in a real browser: choose, slide, point at a pause, place by hand, run; also in the dark."""

from __future__ import annotations

import pytest
from browser_page import LIGHTER, Lab, assert_it_fits, output, run_cell, screenshot
from playwright.sync_api import Locator, Page, expect
from widget_page import show

from lab_utils.widgets import ScheduleExplorer

pytest_plugins = ["browser_fixtures"]
CELL = """from lab_utils import start_ranks
from lab_utils.widgets import ScheduleExplorer

ranks = start_ranks(2)
explorer = ScheduleExplorer(ranks, choice="gpipe", p=4)
explorer"""
STANDS = "print('stands:', explorer.choice, explorer.p, explorer.m, explorer.moves, explorer.result.parity.equal)"
# The middle of a time on a rank's row, in pixels from the picture's upper left corner.
PLACE = """(area, [rank, time, ranks, makespan]) => {
    const width = Math.max(320, Math.floor(area.clientWidth));
    return { x: 62 + time * (width - 62 - 100) / makespan, y: 6 + 30 * (rank + 0.5) };
}"""


def shown(page: Page, explorer: ScheduleExplorer) -> Locator:
    show(page, explorer)
    page.wait_for_function("document.querySelector('.lab-sx-board').dataset.drawn")
    return page.locator(".lab-sx-card")


def board(card: Locator) -> Locator:
    return card.locator(".lab-sx-board").first


def place_of(card: Locator, explorer: ScheduleExplorer, rank: int, time: float) -> dict[str, float]:
    ranks, makespan = explorer.schedule.ranks, explorer.timeline.makespan_s
    return board(card).evaluate(PLACE, [rank, time, ranks, makespan])


def sent(page: Page) -> list[dict]:
    return page.evaluate("window.saved")


def test_it_tells_why_a_rank_idles(page: Page) -> None:
    explorer = ScheduleExplorer(p=4, m=8)
    card, says = shown(page, explorer), page.locator(".lab-sx-says").first
    for gap in (explorer.shown.gaps[0], explorer.shown.gaps[-2], explorer.shown.gaps[-1]):
        board(card).hover(position=place_of(card, explorer, gap.rank, (gap.start + gap.end) / 2))
        expect(says).to_have_text(f"Idle {gap.start:g} to {gap.end:g}: {gap.why}.")
        assert says.get_attribute("aria-live") == "off"
    board(card).hover(position=place_of(card, explorer, 0, 0.5))
    expect(says).to_have_text("F0 of stage 0 on rank 0: 0 to 1.")
    page.mouse.move(0, 0)
    expect(says).to_contain_text("arrow keys")
    assert explorer.shown.words() in board(card).get_attribute("aria-label")


def test_the_picture_is_read_by_keyboard(page: Page) -> None:
    explorer = ScheduleExplorer(p=4, m=8)
    card, says = shown(page, explorer), page.locator(".lab-sx-says").first
    board(card).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(says).to_contain_text("Idle 0 to 1: start ramp: nothing has come to rank 1 yet")
    page.keyboard.press("ArrowRight")
    expect(says).to_have_text("F0 of stage 1 on rank 1: 1 to 2.")
    assert says.get_attribute("aria-live") == "polite"
    page.keyboard.press("End")
    expect(says).to_contain_text("end ramp: rank 1 has run all its ops")
    card.get_by_role("button", name="Go on by hand").click()
    from_marked = card.get_by_role("button", name="By hand from the marked op")
    expect(from_marked).to_be_disabled()  # a pause is marked
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    from_marked.click()
    assert sent(page) == [{"_from_op": -1}, {"_from_op": 16}]  # rank 1's first op comes behind rank 0's 16
    for node in card.locator("button, input, select, textarea, [tabindex]").all():
        assert node.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_an_order_that_is_stuck_says_where_each_rank_stands(page: Page) -> None:
    explorer = ScheduleExplorer(choice="own", text="F0 F1 BW0 BW1\nF0 BW0 BW1 F1")
    card, says = shown(page, explorer), page.locator(".lab-sx-says").first
    expect(card.locator(".lab-sx-wrong").first).to_contain_text("rank 1 runs BW1 of stage 1 before F1 of stage 1")
    expect(card.locator(".lab-sx-remark")).to_have_text("Stuck: 5 of 8 ops ran.")
    expect(card.locator(".lab-sx-number")).to_have_text(["stuck at 6", "none", "none", "2 at most"])
    board(card).focus()
    page.keyboard.press("End")
    expect(says).to_contain_text("From 6 on: rank 0 stands at BW1 of stage 0, which needs B1 or BW1 of stage 1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(says).to_contain_text("From 4 on: rank 1 stands at BW1 of stage 1, which needs F1 of stage 1")
    screenshot(card, "schedule_explorer_stuck")


def test_a_question_mark_tells_what_the_keys_do(page: Page) -> None:
    card = shown(page, ScheduleExplorer(choice="own", text="F0 BW0"))
    told, button = card.locator(".lab-keys"), card.get_by_role("button", name="What the keys do")
    expect(told).to_be_hidden()
    board(card).focus()
    page.keyboard.press("?")
    expect(told).to_contain_text("by hand: undo")
    assert button.get_attribute("aria-expanded") == "true"
    button.click()
    expect(told).to_be_hidden()
    text = card.get_by_label("your own order, a line per rank")
    text.fill("")
    text.press("?")
    expect(text).to_have_value("?")
    expect(told).to_be_hidden()


def test_sliders_send_what_they_say(page: Page) -> None:
    card = shown(page, ScheduleExplorer(p=4, m=8))
    slider = card.get_by_role("slider", name="communication")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert [one["communication"] for one in sent(page)] == pytest.approx([0.05, 0.1, 0.15])
    assert slider.get_attribute("aria-valuetext") == "0.15"
    limit = card.get_by_role("slider", name="memory limit per rank")
    limit.focus()
    page.keyboard.press("ArrowRight")
    assert (sent(page)[-1], limit.get_attribute("aria-valuetext")) == ({"limit": 0.5}, "0.5 micro-batches")
    page.keyboard.press("ArrowLeft")
    assert sent(page)[-1] == {"limit": None}
    expect(card.get_by_role("slider", name="v, virtual stages per rank")).to_be_disabled()


@pytest.mark.parametrize("name", ["one_f_one_b", "v_half"])
def test_eight_ranks_are_drawn_fast(page: Page, name: str) -> None:
    card = shown(page, ScheduleExplorer(choice=name, p=8, m=32))
    assert float(board(card).get_attribute("data-draw-ms")) < 500  # 5 to 20 where nobody else computes


def test_in_jupyterlab_in_the_dark(lab: Lab) -> None:
    with lab.notebook("explore.ipynb", CELL, STANDS, dark=True) as page:
        run_cell(page, 0)
        card = page.locator(".lab-sx-card")
        expect(card.locator(".lab-sx-title")).to_have_text("GPipe: 4 ranks, 8 micro-batches")
        assert card.get_by_role("button", name="Undo").count() == 0
        choose_and_slide(page, card)
        write_an_order(page, card)
        place_three_ops(page, card)
        screenshot(page, "schedule_explorer_dark")
        run_on_the_ranks(page, card)
        screenshot(page, "schedule_explorer_ran_dark")
        assert card.evaluate(LIGHTER) > 100
        assert_it_fits(card)
        run_cell(page, 1)
        expect(output(page, 1)).to_have_text("stands: one_f_one_b 2 2 [[0, 'F0'], [1, 'F0']] True")


def choose_and_slide(page: Page, card: Locator) -> None:
    card.get_by_label("schedule", exact=True).select_option("zb_h1")
    expect(card.locator(".lab-sx-title")).to_have_text("ZB-H1: 4 ranks, 8 micro-batches")
    slider = card.get_by_role("slider", name="p, ranks")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(card.locator(".lab-sx-title")).to_have_text("ZB-H1: 2 ranks, 8 micro-batches")
    card.get_by_role("slider", name="m, micro-batches").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(card.locator(".lab-sx-title")).to_have_text("ZB-H1: 2 ranks, 2 micro-batches")
    expect(card.locator(".lab-sx-numbers")).to_contain_text("makespan7")


def write_an_order(page: Page, card: Locator) -> None:
    card.get_by_label("schedule", exact=True).select_option("own")
    text = card.get_by_label("your own order, a line per rank")
    expect(text).to_have_value("F0 F1 B0 W0 B1 W1\nF0 B0 F1 B1 W0 W1")
    text.fill("F0 F1 BW0 BW1\nF1 F0 BW0 BW1\n")
    expect(card.locator(".lab-sx-wrong[role=status]").first).to_be_empty()
    text.fill("F0 F1 BW0 BW1\nF1 BW1 BW0 F0")
    expect(card.locator(".lab-sx-wrong").first).to_contain_text("runs BW0 of stage 1 before F0 of stage 1")
    expect(card.locator(".lab-sx-remark")).to_have_text("Stuck: 4 of 8 ops ran.")
    text.fill("F0 F1 BW0 BW1\nF0 F1 BW0 BW1")
    expect(card.locator(".lab-sx-wrong").first).to_be_empty()


def place_three_ops(page: Page, card: Locator) -> None:
    card.get_by_label("schedule", exact=True).select_option("hand")
    card.locator(".lab-sx-offers").get_by_role("button", name="F0", exact=True).click()
    expect(card.locator(".lab-sx-remark")).to_contain_text("11 of F, B and W are left to place")
    board(card).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("f")
    expect(card.locator(".lab-sx-remark")).to_contain_text("10 of F, B and W")
    page.keyboard.press("w")
    expect(card.locator(".lab-sx-wrong").first).to_contain_text("W0 of stage 1 needs B0 of stage 1")
    page.keyboard.press("x")
    expect(card.locator(".lab-sx-remark")).to_contain_text("8 of F, B and W are left to place. Par is")
    page.keyboard.press("Backspace")
    expect(card.locator(".lab-sx-remark")).to_contain_text("10 of F, B and W")


def run_on_the_ranks(page: Page, card: Locator) -> None:
    button = card.get_by_role("button", name="Run on ranks")
    button.click()
    expect(card.locator(".lab-sx-run")).to_contain_text("it cannot run yet")
    card.get_by_label("schedule", exact=True).select_option("one_f_one_b")
    expect(card.locator(".lab-sx-title")).to_have_text("1F1B: 2 ranks, 2 micro-batches")
    button.click()
    expect(card.locator(".lab-sx-run")).to_contain_text("✓ parity: 2 ranks equal serial")
    for at in (1, 2):
        figure = card.locator(".lab-sx-board").nth(at)
        expect(figure).to_be_visible()
        assert figure.locator("canvas").evaluate("canvas => canvas.width") > 300
