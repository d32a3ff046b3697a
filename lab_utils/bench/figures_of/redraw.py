"""How long a person waits for a picture in the browser: after a slider has moved, and while a large one is moved."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import quantiles
from typing import TYPE_CHECKING

from lab_utils.bench.browser import WAIT_MS, notebook
from lab_utils.bench.figures import Sample, at_most, figure

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MARKS = {"stages": 8, "microbatches": 64}  # 1F1B: 1,024 ops
MANY = {"stages": 64, "microbatches": 782}  # 100,096
WARM_UP = 3
PRESSES = 30

# The timeline to touch, and below it the same picture by matplotlib with a slider of ipywidgets.
TIMELINE = """from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.widgets import TimelineView

schedule = schedules.one_f_one_b({stages}, {microbatches})
TimelineView(simulate(schedule, Costs(1, 0.5, 0.5, 0.1)))"""
INLINE = """%matplotlib inline
import matplotlib.pyplot as plt
from ipywidgets import IntSlider, interact

KINDS = ((0, "#0072b2"), (3, "#009e73"))


def draw(percent):
    placed = simulate(schedule, Costs(1, 0.5, 0.5, percent / 100)).prediction.placement
    _, axes = plt.subplots(figsize=(11, 4))
    for rank in range(schedule.ranks):
        for kind, color in KINDS:
            at = (schedule.rank == rank) & (schedule.kind == kind)
            bars = list(zip(placed.start_s[at], placed.end_s[at] - placed.start_s[at]))
            axes.broken_barh(bars, (rank - 0.4, 0.8), color=color)
    plt.show()


interact(draw, percent=IntSlider(10, 0, 100));"""

# From the key that moves a slider to the frame in which the new picture is on the screen: window.took, in milliseconds.
# The timeline is drawn while the slider tells of its move; matplotlib's picture comes as an image, and is decoded.
WATCH = """() => {
    let began = 0, shown = null;
    const plot = document.querySelector(".widget-interact");
    const nextFrame = () => new Promise((done) => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel(); // heard once the frame has been painted
        port1.onmessage = done;
        port2.postMessage(null);
    }));
    const ends = () => nextFrame().then(() => { window.took = performance.now() - began; });
    addEventListener("keydown", () => { began = performance.now(), window.took = null; }, true);
    document.querySelector(".lab-tl-card").addEventListener("input", ends);
    new MutationObserver(() => {
        const image = plot.querySelector("img");
        if (!image || image === shown) return;
        shown = image;
        image.decode().then(ends);
    }).observe(plot, { childList: true, subtree: true });
}"""
# Moves the picture n times by a key, eight times to the right and eight to the left; milliseconds from frame to frame.
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


@figure(
    "redraw-slider", "milliseconds from a slider's move to the new picture of 1,024 marks in the browser", "ms",
    reference="matplotlib inline", target=at_most(20), rounds=1, **MARKS,
)  # fmt: skip
def redrawn(stages: int, microbatches: int, presses: int = PRESSES) -> Iterator[Sample]:
    """By key presses in turns, in one page of JupyterLab; matplotlib draws in the kernel, on this machine."""
    with notebook(TIMELINE.format(stages=stages, microbatches=microbatches), INLINE) as page:
        ours = page.locator(".lab-tl-card").get_by_role("slider", name="communication")
        inline = page.locator(".widget-interact .noUi-handle")
        page.locator(".widget-interact img").wait_for(timeout=WAIT_MS)
        ours.wait_for(timeout=WAIT_MS)
        page.evaluate(WATCH)
        for press in range(WARM_UP + presses):
            sample = Sample(_took_ms(page, ours), _took_ms(page, inline))
            if press >= WARM_UP:
                yield sample


def _took_ms(page: Page, slider: Locator) -> float:
    slider.focus()
    page.evaluate("window.took = null")
    slider.press("ArrowRight")
    return page.wait_for_function("window.took", timeout=WAIT_MS).json_value()


@figure(
    "redraw-slowest", "the same in the slowest tenth of moves: the 90th percentile", "ms",
    reference="matplotlib inline", target=at_most(60), rounds=1, **MARKS,
)  # fmt: skip
def slowest(stages: int, microbatches: int, presses: int = PRESSES) -> Iterator[Sample]:
    samples = list(redrawn(stages, microbatches, presses))
    yield Sample(*(quantiles(times, n=10, method="inclusive")[-1] for times in zip(*samples, strict=True)))


@figure(
    "redraw-pan", "milliseconds from frame to frame while the picture of 100,096 ops is moved", "ms",
    target=at_most(33), rounds=1, **MANY,
)  # fmt: skip
def panned(stages: int, microbatches: int, frames: int = 60) -> Iterator[Sample]:
    with notebook(TIMELINE.format(stages=stages, microbatches=microbatches)) as page:
        page.get_by_role("button", name="Zoom in").click(timeout=WAIT_MS)
        yield from map(Sample, page.evaluate(PAN, frames))
