"""ScheduleExplorer's picture, closer: with 8 x 32 boxes no number fits until a person zooms."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect
from widget_page import show

from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer.picture_data import packed

pytest_plugins = ["browser_fixtures"]
LEFT, RIGHT = 62, 100  # of the board, beside the plot


def hover(board: Locator, rank: int, part: float) -> None:
    """Point at a part of the plot's width, 0 to 1."""
    plot = board.bounding_box()["width"] - LEFT - RIGHT
    board.hover(position={"x": LEFT + part * plot, "y": 6 + 30 * (rank + 0.5)})


def told_at(explorer: ScheduleExplorer, rank: int, time: float) -> str:
    """How the op or the pause begins that a rank has at this time."""
    shown = explorer.shown
    for at in range(*shown.draft.first[rank : rank + 2]):
        if shown.start[at] <= time < shown.end[at]:
            return f"{shown.draft.ops[at].name} of stage {rank} on rank {rank}"
    return "Idle"


def test_zooming_by_keys_wheel_and_drag(page: Page) -> None:
    explorer = ScheduleExplorer(p=8, m=32)
    show(page, explorer)
    page.wait_for_function("document.querySelector('.lab-sx-board').dataset.drawn")
    board, says = page.locator(".lab-sx-board").first, page.locator(".lab-sx-says").first
    extent = explorer.timeline.makespan_s
    board.focus()
    for _ in range(4):
        page.keyboard.press("+")
    width = extent / 1.5**4
    start = (extent - width) / 2
    for rank, part in ((0, 0.01), (3, 0.5), (7, 0.99)):
        hover(board, rank, part)
        expect(says).to_contain_text(told_at(explorer, rank, start + part * width))
    hover(board, 0, 0.75)
    page.mouse.down()
    hover(board, 0, 0.25)  # half a width on
    page.mouse.up()
    expect(says).to_contain_text(told_at(explorer, 0, start + 0.75 * width))
    page.mouse.wheel(0, -1000)
    hover(board, 0, 0.25)
    expect(says).to_contain_text(told_at(explorer, 0, start + 0.75 * width))  # the wheel zooms about the pointer
    page.keyboard.press("End")  # the last op, which was out of sight
    page.mouse.move(0, 0)
    expect(says).to_contain_text("BW31 of stage 0 on rank 0")
    page.keyboard.press("0")
    hover(board, 0, 0.004)
    expect(says).to_contain_text("F0 of stage 0")


class TwoRanks:
    size = 2


def test_a_run_that_is_far_from_its_prediction_has_a_scale_of_its_own(page: Page) -> None:
    ranks = TwoRanks()
    explorer = ScheduleExplorer(ranks, p=2, m=2)
    draft, end = explorer.schedule, explorer.shown.end / explorer.shown.end.max()
    start = explorer.shown.start / explorer.shown.end.max()
    about = {"state": "done", "says": [], "ranks": 2, "stages": 2, "named": False, "ops": len(draft)}
    lengths = {"lengths": [0.8, 0.07], "lengths_text": ["800 ms", "70.0 ms"], "nth_on_rank": [0, 0]}
    boxes = packed(draft, 0.8 * start, 0.8 * end) + packed(draft, 0.07 * start, 0.07 * end)
    explorer._show_run(about | lengths, boxes)
    show(page, explorer)
    heads = page.locator(".lab-sx-figure > .lab-sx-quiet")
    measured, predicted = "measured on the ranks", "predicted from the measured costs"
    expect(heads).to_have_text([f"{measured} · own scale: 800 ms across", f"{predicted} · own scale: 70.0 ms across"])
    below = page.locator(".lab-sx-board").nth(2)
    hover(below, 0, 0.99)
    told = page.locator(".lab-sx-run > .lab-sx-quiet").last
    expect(told).to_contain_text("of stage 0 on rank 0")
    button = page.get_by_role("button", name="on one scale")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(heads).to_have_text([measured, predicted])
    hover(below, 0, 0.99)  # where nothing is any more
    expect(told).to_be_empty()
