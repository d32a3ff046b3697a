"""How fast the timeline to touch is drawn again in a real browser: `PYTHONPATH=tests python tests/timeline_speed.py`.

No test: how long it takes is the machine's business. It prints what it measured.
"""

from __future__ import annotations

from statistics import median, quantiles

from jupyterlab_server import chromium
from playwright.sync_api import Page
from timeline_samples import ddp
from widget_page import quiet_page, show_timeline

from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.widgets import TimelineView

# Moves a slider n times; milliseconds until the picture is drawn.
SLIDE = """async ([label, n]) => {
    const input = document.querySelector(`input[aria-label="${label}"]`), took = [];
    for (let k = 0; k < n; k++) {
        await new Promise(requestAnimationFrame);
        input.value = (37 * k) % 400;
        const began = performance.now();
        input.dispatchEvent(new Event("input", { bubbles: true }));
        took.push(performance.now() - began);
    }
    return took;
}"""
# Moves the picture n times with the keys; milliseconds from frame to frame.
PAN = """async (n) => {
    const area = document.querySelector(".lab-tl-area"), took = [];
    let before = await new Promise(requestAnimationFrame);
    for (let k = 0; k < n; k++) {
        const key = Math.floor(k / 8) % 2 ? "ArrowLeft" : "ArrowRight";
        area.dispatchEvent(new KeyboardEvent("keydown", { key }));
        const now = await new Promise(requestAnimationFrame);
        took.push(now - before);
        before = now;
    }
    return took;
}"""


def slid_ms(page: Page) -> tuple[int, list[float]]:
    """Spans shown, and milliseconds from a slider's event to the picture drawn again."""
    timeline = ddp(8, 8, 5).timeline(Hardware(None, Link("wire", 50e-6, 5e9)))
    show_timeline(page, TimelineView(timeline))
    return len(timeline.spans), page.evaluate(SLIDE, ["bandwidth", 60])


def panned_ms(page: Page) -> tuple[int, list[float]]:
    """Spans held, and milliseconds from frame to frame while the picture moves."""
    timeline = simulate(schedules.one_f_one_b(64, 782), Costs(1, 0.5, 0.5, 0.1))
    show_timeline(page, TimelineView(timeline))
    page.get_by_role("button", name="Zoom in").click()
    return len(timeline.spans), page.evaluate(PAN, 60)


def main() -> None:
    for name, measure in (("slider to drawn", slid_ms), ("pan, frame to frame", panned_ms)):
        with chromium() as browser, quiet_page(browser) as page:
            spans, took_ms = measure(page)
        p90_ms = quantiles(took_ms, n=10)[-1]
        print(f"{name:20} {spans:>8,} spans: median {median(took_ms):.1f} ms, 90th percentile {p90_ms:.1f} ms")


if __name__ == "__main__":
    main()
