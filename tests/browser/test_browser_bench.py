"""The bench in a real browser: slider and matplotlib in one JupyterLab; and what it says where there is no browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page
from widget_page import show_timeline

from lab_utils.bench import browser
from lab_utils.bench.figures_of import redraw
from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.widgets import TimelineView

pytest_plugins = ["browser_fixtures"]


def test_the_slider_is_measured_beside_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redraw, "WARM_UP", 1)
    with ThreadPoolExecutor(1) as alone:  # the bench opens a browser of its own, and a thread can drive only one
        samples = alone.submit(lambda: list(redraw.redrawn(stages=2, microbatches=3, presses=3))).result()
    assert len(samples) == 3
    assert all(measured > 0 and reference > 0 for measured, reference in samples)


def test_the_slowest_tenth_is_told_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: int) -> Iterator[redraw.Sample]:
        yield from (redraw.Sample(float(n), 10.0 * n) for n in range(11))

    monkeypatch.setattr(redraw, "redrawn", measured)
    assert list(redraw.slowest(2, 3)) == [redraw.Sample(9.0, 90.0)]


def test_frames_are_counted_while_the_picture_moves(page: Page) -> None:
    show_timeline(page, TimelineView(simulate(schedules.one_f_one_b(2, 3), Costs())))
    page.get_by_role("button", name="Zoom in").click()
    before = page.locator(".lab-tl-card").get_attribute("data-view")
    took = page.evaluate(redraw.PAN, 5)
    assert len(took) == 5 and min(took) > 0
    assert page.locator(".lab-tl-card").get_attribute("data-view") != before


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        (lambda patch: patch.setitem(sys.modules, "playwright.sync_api", None), "playwright is not installed"),
        (lambda patch: patch.setattr(browser, "chromium_path", lambda: None), "run `make browser`"),
    ],
)
def test_without_a_browser_it_says_the_mend(monkeypatch: pytest.MonkeyPatch, lacks, sentence: str) -> None:
    lacks(monkeypatch)
    with pytest.raises(RuntimeError, match=sentence):
        next(redraw.redrawn(2, 3))
