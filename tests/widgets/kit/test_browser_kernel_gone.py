"""Widgets whose kernel has ended or restarted, in JupyterLab: they say so, and take no clicks for nothing."""

from __future__ import annotations

import json

from browser_page import TESTS, Lab, output, run_cell, screenshot, set_theme
from playwright.sync_api import Locator, Page, expect

pytest_plugins = ["browser_fixtures"]
GONE = "kernel gone: run the cell again"
NOT_SENT = "Could not send widget sync message"  # JupyterLab's words, where a timeline's slider rests
START = f"""import sys
sys.path[:0] = {TESTS!r}
from scripted_ranks import Scripted, status
from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.widgets import LiveCurve, RanksStatus, ScheduleExplorer
ranks = Scripted(status("computing", "idle"))
RanksStatus(ranks)"""
EXPLORE = "explorer = ScheduleExplorer(choice='hand', p=2, m=2)\nexplorer"
PREDICT = "simulate(schedules.gpipe(2, 2), Costs())"
CURVE = """curve = LiveCurve(steps=4)
display(curve)
for step in range(4):
    curve.on_report(0, {"step": step, "loss": 2 - step / 4})"""


def test_without_a_kernel_and_after_its_restart(lab: Lab) -> None:
    with lab.notebook("gone.ipynb", START, EXPLORE, PREDICT, CURVE, forgiven=NOT_SENT) as page:
        run_cell(page, 0, 1, 2, 3)
        assert_alive(page)
        assert_the_curve_is_stored(lab, page)
        menu(page, "Kernel", "kernelmenu:shutdown")
        assert_gone(page)
        assert_a_prediction_still_works(page)
        screenshot(page, "kernel_gone")
        expect(page.locator(".jp-Toolbar-kernelName").first).to_have_text("No Kernel")
        run_cell(page, 0)
        expect(page.locator(".lab-status-card .lab-gone")).to_be_empty()  # the new kernel takes the next cell
        run_cell(page, 1)
        assert_alive(page)
        menu(page, "Kernel", "kernelmenu:restart")
        assert_gone(page)
        expect(page.get_by_text("(ipykernel) | Idle")).to_be_visible()  # only then it can be ended
        set_theme(page, dark=True)
        page.locator(".lab-status-card").scroll_into_view_if_needed()
        screenshot(page, "kernel_gone_dark")


def menu(page: Page, name: str, command: str) -> None:
    page.click(f'.lm-MenuBar-item:has-text("{name}")')
    page.click(f'.lm-Menu-item[data-command="{command}"]')


def assert_alive(page: Page) -> None:
    explorer = page.locator(".lab-sx-card")
    expect(page.locator(".lab-status-card tbody tr")).to_have_count(2)
    expect(page.locator(".lab-gone:not(:empty)")).to_have_count(0)
    explorer.locator(".lab-sx-offers").get_by_role("button", name="F0", exact=True).click()
    expect(explorer.locator(".lab-sx-remark")).to_contain_text("11 of F, B and W are left to place")


def assert_gone(page: Page) -> None:
    """The table says that it is old; what needs Python takes no click and no key, what does not works on."""
    table, explorer = page.locator(".lab-status-card"), page.locator(".lab-sx-card")
    expect(table.locator(".lab-gone")).to_have_text(GONE)
    expect(table.locator(".lab-status-says")).to_have_text("This is what they did last.")
    expect(explorer.locator(".lab-gone")).to_have_text(GONE)
    assert explorer.locator(".lab-gone").get_attribute("role") == "status"
    undo, before = explorer.get_by_role("button", name="Undo"), drawn(explorer)
    expect(undo).to_have_attribute("aria-disabled", "true")
    undo.click(force=True)
    expect(explorer.get_by_role("slider", name="p, ranks")).to_be_disabled()
    board = explorer.locator(".lab-sx-board").first
    board.focus()
    for key in ("f", "ArrowDown"):  # the second is the board's own: it draws the offers of rank 1, all of them dead
        page.keyboard.press(key)
    offers = explorer.locator(".lab-sx-offers button")
    expect(explorer.locator(".lab-sx-offers")).to_contain_text("rank 1 next:")
    assert {node.get_attribute("aria-disabled") for node in offers.all()} == {"true"}
    assert drawn(explorer) == before
    explorer.get_by_role("button", name="Zoom in").click()
    explorer.get_by_role("button", name="What the keys do").click()
    expect(explorer.locator(".lab-keys")).to_be_visible()


def drawn(explorer: Locator) -> str:
    return explorer.locator(".lab-sx-remark").inner_text()


def assert_a_prediction_still_works(page: Page) -> None:
    card = page.locator(".lab-tl-card").first
    numbers = card.locator(".lab-tl-numbers")
    said = numbers.inner_text()
    slider = card.get_by_role("slider", name="forward")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(numbers).not_to_have_text(said, use_inner_text=True)
    expect(card.locator(".lab-gone")).to_have_count(0)


def assert_the_curve_is_stored(lab: Lab, page: Page) -> None:
    card = output(page, 3).locator(".lab-live-card")
    expect(card).to_have_attribute("data-done", "4")
    menu(page, "File", "docmanager:save")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    cell = json.loads((lab.labs / "gone.ipynb").read_text(encoding="utf-8"))["cells"][3]
    (stored,) = cell["outputs"]
    assert "loss: 2.00 at step 0, 1.25 at step 3" in "".join(stored["data"]["text/plain"])
    assert "<path" in "".join(stored["data"]["image/svg+xml"])
