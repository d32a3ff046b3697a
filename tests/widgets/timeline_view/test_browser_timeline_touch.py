"""The timeline to touch, in a real browser on a bare page: drag, wheel, keys, hover, play, select, sliders."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect
from timeline_samples import ddp
from widget_page import show_timeline

from lab_utils.render import palette
from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.text import time_text
from lab_utils.timeline import Trace
from lab_utils.timeline.export.sentences import headline
from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.widgets import TimelineView

pytest_plugins = ["browser_fixtures"]
WIRE = Hardware(None, Link("wire", 50e-6, 5e9))
DDP = ddp(4)
PREDICTED, MEASURED = DDP.timeline(WIRE), DDP.timeline()
PLOT_LEFT, PLOT_RIGHT = 84, 124  # from the picture's edges
# How many pixels of the picture have this colour, within x and y of CSS pixels.
COUNT = """([color, left, top, right, bottom]) => {
    const canvas = document.querySelector(".lab-tl-base"), context = canvas.getContext("2d");
    const pixels = context.getImageData(left, top, right - left, bottom - top).data;
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) count += pixels[i] === r && pixels[i + 1] === g && pixels[i + 2] === b;
    return count;
}"""
# What has the focus, and whether it keeps its keys to itself.
FOCUSED = """() => {
    const { tagName, className, dataset, ariaLabel } = document.activeElement;
    return `${tagName} ${className} ${ariaLabel} ${dataset.lmSuppressShortcuts ? "keeps" : ""}`;
}"""


def in_view(page: Page) -> tuple[float, float]:
    start, end = map(float, page.locator(".lab-tl-card").get_attribute("data-view").split())
    return start, end


def at(area: Locator, x: float, y: float) -> tuple[float, float]:
    box = area.bounding_box()
    return box["x"] + x, box["y"] + y


def x_of(area: Locator, time_s: float, makespan_s: float) -> float:
    """Where the whole picture shows a time, CSS pixels from its edge."""
    return PLOT_LEFT + time_s / makespan_s * (area.bounding_box()["width"] - PLOT_LEFT - PLOT_RIGHT)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def test_buttons_zoom_and_a_drag_moves(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED))
    whole = in_view(page)
    assert whole == (0.0, PREDICTED.makespan_s)
    page.get_by_role("button", name="Zoom in").click()
    first, last = in_view(page)
    assert last - first == pytest.approx(PREDICTED.makespan_s / 1.5)
    drag(page, at(area, 500, 40), at(area, 400, 40))
    moved = in_view(page)
    width = area.bounding_box()["width"] - PLOT_LEFT - PLOT_RIGHT
    assert moved[0] - first == pytest.approx(100 / width * (last - first), rel=1e-6)
    page.get_by_role("button", name="Show all of it").click()
    assert in_view(page) == whole


def test_the_wheel_scrolls_the_page_until_the_picture_is_clicked(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED))
    page.evaluate("document.body.style.height = '5000px'")
    page.mouse.move(*at(area, 300, 40))
    page.mouse.wheel(0, 100)
    page.wait_for_function("window.scrollY > 0")
    assert in_view(page) == (0.0, PREDICTED.makespan_s)
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.click(*at(area, 300, 40))
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "document.querySelector('.lab-tl-card').dataset.view !== '0 ' + " + str(PREDICTED.makespan_s)
    )
    start, end = in_view(page)
    pointed = (300 - PLOT_LEFT) / (area.bounding_box()["width"] - PLOT_LEFT - PLOT_RIGHT)
    assert start + pointed * (end - start) == pytest.approx(pointed * PREDICTED.makespan_s, rel=1e-3)


def test_the_keyboard_does_it_all(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED))
    area.focus()
    for key in ("+", "+", "ArrowRight"):
        page.keyboard.press(key)
    assert in_view(page)[0] > PREDICTED.makespan_s * 0.3
    page.keyboard.press("0")
    assert in_view(page) == (0.0, PREDICTED.makespan_s)
    says = page.get_by_role("status")
    page.keyboard.press("n")
    expect(says).to_contain_text("rank 0 compute: start 0 s")
    page.keyboard.press("ArrowDown")
    expect(says).to_contain_text("all_reduce · group world, number 0")
    page.keyboard.press("Enter")
    expect(says).to_contain_text("selected")
    chosen = page.evaluate("saved.at(-1).selected")
    assert {PREDICTED.spans[span].op.name for span in chosen} == {"all_reduce"}
    page.keyboard.press("Escape")
    assert page.evaluate("saved.at(-1).selected") == []


def test_an_op_that_was_run_as_another_says_so(page: Page) -> None:
    stand_for = (replace(op, run_as="all_to_all", ranks=(0,)) for op in DDP.ops[0] if op.kind == "collective")
    area = show_timeline(page, TimelineView(Trace((tuple(stand_for),)).timeline()))
    area.focus()
    page.keyboard.press("n")
    expect(page.get_by_role("status")).to_contain_text("all_reduce · run as all_to_all · group world, number 0")


def test_hovering_tells_of_the_op_and_whom_it_waited_for(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED))
    waiting = next(s for s in PREDICTED.spans if (s.rank, s.lane, s.activity) == (0, "wire", "waiting"))
    x = x_of(area, (waiting.start_s + waiting.end_s) / 2, PREDICTED.makespan_s)
    lane = 22 + 15 + 26 + 1 + 3  # of the first rank, its first track
    page.mouse.move(*at(area, x, lane))
    tip = page.locator(".lab-tl-tip")
    expect(tip).to_contain_text("all_reduce · group world, number 0")
    came = f"waits for rank 3 (train.py:41), which entered at {time_text(waiting.end_s)}"
    for words in ("26.2 MB", "train.py:41 · phase backward", came):
        expect(tip).to_contain_text(words)
    page.mouse.move(*at(area, 20, 300))
    expect(tip).to_be_hidden()


def test_a_drag_with_shift_selects_what_it_covers(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED, MEASURED))
    first, last = (x_of(area, time_s, PREDICTED.makespan_s) for time_s in (5e-3, 9e-3))
    page.keyboard.down("Shift")
    drag(page, at(area, first, 51), at(area, last, 70))  # the own stream of the first measured rank
    page.keyboard.up("Shift")
    saved = page.evaluate("saved.at(-1)")
    wanted = [
        n
        for n, s in enumerate(MEASURED.spans)
        if (s.rank, s.lane) == (0, "own") and s.start_s < 9e-3 and s.end_s > 5e-3
    ]
    assert saved["selected_measured"] == wanted and saved["selected"] == []
    page.mouse.click(*at(area, first, 60))
    ops = {MEASURED.spans[n].op for n in page.evaluate("saved.at(-1).selected_measured")}
    assert ops == {MEASURED.spans[wanted[0]].op}


def test_the_scrubber_plays_to_the_end(page: Page) -> None:
    show_timeline(page, TimelineView(PREDICTED))
    scrubber = page.get_by_role("slider", name="Time shown")
    scrubber.fill("250")
    expect(scrubber).to_have_attribute(
        "aria-valuetext", f"at {time_text(PREDICTED.makespan_s / 4)}: of 4 ranks 4 compute"
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("+document.querySelector('.lab-tl-scrubber').value > 300")
    page.get_by_role("button", name="Pause").click()
    scrubber.fill("970")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    expect(scrubber).to_have_value("1000")


def test_sliders_place_it_anew_and_python_hears_where_they_rest(page: Page) -> None:
    show_timeline(page, TimelineView(PREDICTED, MEASURED))
    picture = page.get_by_role("img")
    expect(picture).to_have_attribute("aria-label", f"{headline(MEASURED)} {headline(PREDICTED)}")
    slider = page.get_by_role("slider", name="latency")
    slider.evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")  # held, not let go
    assert page.evaluate("saved") == []
    page.wait_for_function("saved.length === 1")
    slid = Hardware(None, Link("slid", page.evaluate("saved[0]._setting.latency_s"), 5e9))
    assert slid.link.latency_s == 1e-7
    expect(picture).to_have_attribute("aria-label", f"{headline(MEASURED)} {headline(DDP.timeline(slid))}")
    expect(page.get_by_role("status")).to_have_text(headline(DDP.timeline(slid)))
    page.get_by_role("button", name="Set the sliders back").click()
    assert page.evaluate("saved.at(-1)._setting.latency_s") == 50e-6


def test_measured_and_predicted_share_one_axis_and_are_told_by_patterns(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED, MEASURED))
    end = x_of(area, MEASURED.makespan_s, PREDICTED.makespan_s)
    own = (50, 74)  # of the first measured rank
    blue, stripes = palette.ACTIVITIES["compute"].fill, palette.ACTIVITIES["communication"].pattern_ink
    assert page.evaluate(COUNT, [blue, int(end) - 10, own[0], int(end) - 2, own[1]]) > 100
    assert page.evaluate(COUNT, [blue, int(end) + 2, own[0], int(end) + 60, own[1]]) == 0
    assert page.evaluate(COUNT, [stripes, PLOT_LEFT, 0, int(end), 400]) > 50


def test_the_critical_path_stands_out_on_demand(page: Page) -> None:
    area = show_timeline(page, TimelineView(PREDICTED))
    box = area.bounding_box()
    whole = [palette.STRONG, 0, 0, int(box["width"]), int(box["height"])]
    button = page.get_by_role("button", name="Show the critical path")
    assert page.evaluate(COUNT, whole) == 0
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(COUNT, whole) > 1000
    button.click()
    assert page.evaluate(COUNT, whole) == 0


def test_a_schedules_sliders_place_it_anew(page: Page) -> None:
    order = schedules.one_f_one_b(4, 8)
    show_timeline(page, TimelineView(simulate(order, Costs([1, 1.2, 1, 1], 0.5, 0.5, 0, 3e9))))
    assert page.get_by_role("slider").count() == 5  # four costs, and the scrubber
    forward, comm = (page.get_by_role("slider", name=name) for name in ("forward", "communication"))
    expect(forward).to_have_attribute("aria-valuetext", "× 1.00")
    expect(comm).to_have_attribute("aria-valuetext", "0 s")
    comm.fill("200")
    page.wait_for_function("saved.length === 1")
    moved = Costs([1, 1.2, 1, 1], 0.5, 0.5, page.evaluate("saved[0]._setting.comm"), 3e9)
    expect(page.get_by_role("img")).to_have_attribute("aria-label", headline(simulate(order, moved)))
    page.get_by_role("button", name="Set the sliders back to the given costs").click()
    expect(comm).to_have_value("0")


def test_nothing_is_said_to_be_nothing(page: Page) -> None:
    empty = Trace(((), ()))
    show_timeline(page, TimelineView(empty.timeline(WIRE), empty.timeline()))
    expect(page.get_by_text("Nothing to show")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_disabled()
    expect(page.get_by_role("slider", name="Time shown")).to_be_disabled()


def test_whatever_takes_the_focus_keeps_its_keys(page: Page) -> None:
    show_timeline(page, TimelineView(PREDICTED, MEASURED, [Hardware(None, Link("other", 1e-6, 1e9))]))
    page.get_by_text("Numbers of each rank").click()
    page.locator(".lab-tl-tables").evaluate("tables => { tables.style.width = '120px'; }")
    page.mouse.click(5, 5)  # outside: from there, Tab leads through all of it
    met = [page.evaluate(FOCUSED)]
    while len(met) == 1 or met[-1] != met[0]:
        page.keyboard.press("Tab")
        met.append(page.evaluate(FOCUSED))
    # The choice, 3 sliders, picture, play, scrubber, critical path, 3 of zoom, the keys, the numbers' head and tables.
    assert len(met) == 1 + 14 + 1 and all("keeps" in name for name in met[1:-1]), met
