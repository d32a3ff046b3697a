"""What a person compares: measured and predicted on scales of their own, and what sliders changed, before and after."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect
from test_browser_timeline_touch import COUNT
from timeline_samples import all_reduce, compute, ddp
from widget_page import show_timeline

from lab_utils.render import palette
from lab_utils.text import time_text
from lab_utils.timeline.hardware import Device, Hardware, Link, catalogue
from lab_utils.timeline.ops import Op
from lab_utils.timeline.timeline import headline
from lab_utils.timeline.trace import Trace
from lab_utils.widgets import TimelineView
from lab_utils.widgets.timeline_view.sliders import numbers

pytest_plugins = ["browser_fixtures"]
LEFT, RIGHT = 84, 124  # from the picture's edges
FAST = Hardware(Device("fast", 1e30, 1e30), Link("fast", 1e-6, 1e12))
# Keeps every word that is written on a canvas.
SPY = """() => {
    const { prototype } = CanvasRenderingContext2D, write = prototype.fillText;
    window.written = [];
    prototype.fillText = function (words, ...rest) { window.written.push(words); write.call(this, words, ...rest); };
}"""
# Where each panel of a picture 800 pixels wide shows its figure's end, what it was before, and which part is in view.
SCENE = """([own, setting]) => {
    const about = model.get("_about"), arrays = lab.unpacked(about.arrays, model.get("_data"));
    const of = (figure) => new lab.Figure(figure, lab.arraysOf(arrays, figure.prefix), about.strings);
    const figures = about.figures.map(of), scene = new lab.Scene(figures, about.style), moved = figures.at(-1);
    Object.assign(scene, { width: 800, own: own ?? scene.own });
    if (setting) moved.remember(), moved.retime(setting);
    scene.arrange();
    const end = ({ axis }, figure) => figure && axis.x(figure.makespan);
    const ends = scene.panels.map((panel) => [end(panel, panel.figure), end(panel, panel.figure.ghost)]);
    return { own: scene.own, ends };
}"""
WHOLE = 800 - RIGHT


def counted() -> Trace:
    """Steps of DDP that take milliseconds here, and next to nothing on a fast device."""

    def of(op: Op) -> Op:
        return replace(op, kernels=1, flops=10**6) if op.kind == "compute" else replace(op, bytes=op.bytes // 1000)

    return replace(ddp(4), ops=tuple(tuple(map(of, ops)) for ops in ddp(4).ops))


FAR = counted()


def shown(page: Page, view: TimelineView) -> Locator:
    page.evaluate(SPY)
    return show_timeline(page, view)


def written(page: Page) -> set[str]:
    """What is written on the picture now, drawn once more."""
    page.evaluate("written.length = 0")
    size = page.viewport_size
    page.set_viewport_size({**size, "width": size["width"] - 1})
    page.wait_for_function("written.length")
    return set(page.evaluate("written"))


def at(area: Locator, x: float, y: float) -> tuple[float, float]:
    box = area.bounding_box()
    return box["x"] + x, box["y"] + y


def test_lengths_far_apart_have_scales_of_their_own_until_one_is_wanted(page: Page) -> None:
    measured, predicted = FAR.timeline(), FAR.timeline(FAST)
    assert measured.makespan_s > 100 * predicted.makespan_s
    area = shown(page, TimelineView(predicted, measured))
    assert page.evaluate(SCENE, [None, None]) == {"own": True, "ends": [[pytest.approx(WHOLE), None]] * 2}
    said = written(page)
    for timeline in (measured, predicted):
        assert f"own scale: {time_text(timeline.makespan_s)} across" in said
    assert {"time (ms)", "time (µs)"} <= said
    page.mouse.move(*at(area, LEFT + 3, 60))
    expect(page.locator(".lab-tl-tip")).to_contain_text("rank 0 compute: start 0 s")
    page.get_by_role("slider", name="Time shown").fill("500")  # as far in each, and told of the predicted one
    expect(page.locator(".lab-tl-now")).to_contain_text(
        f"predicted, at {time_text(predicted.makespan_s / 2)}: of 4 ranks"
    )
    button = page.get_by_role("button", name="on one scale")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    said = written(page)
    assert "time (ms)" in said and not any("own scale" in words or words == "time (µs)" for words in said)
    (first, _), (second, _) = page.evaluate(SCENE, [False, None])["ends"]
    assert first == pytest.approx(WHOLE) and second < LEFT + 8


def test_lengths_alike_share_a_scale(page: Page) -> None:
    shown(page, TimelineView(FAR.timeline(replace(FAST, device=None)), FAR.timeline()))
    expect(page.get_by_role("button", name="on one scale")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(SCENE, [None, None])["own"] is False
    assert not any("own scale" in words for words in written(page))


def test_keys_go_from_one_scale_to_the_other(page: Page) -> None:
    area = shown(page, TimelineView(FAR.timeline(FAST), FAR.timeline()))
    area.focus()
    page.keyboard.press("n")
    status = page.get_by_role("status")
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    expect(status).to_contain_text("rank 3")
    last = FAR.timeline(FAST).lane(3, "wire")
    assert any(time_text(span.duration_s) in status.inner_text() for span in last)


def test_faster_looks_shorter_beside_what_stood_there_before(page: Page) -> None:
    wire = Hardware(None, Link("wire", 50e-6, 5e9))
    slow, view = ddp(4).timeline(wire), TimelineView(ddp(4).timeline(wire))
    shown(page, view)
    fast = numbers(replace(wire, link=Link("fast", 1e-7, 2e12)))
    ((end, ghost),) = page.evaluate(SCENE, [None, fast])["ends"]
    assert ghost == pytest.approx(WHOLE) and end < ghost - 100
    slower = numbers(replace(wire, link=Link("slow", 1e-2, 5e9)))
    ((end, ghost),) = page.evaluate(SCENE, [None, slower])["ends"]
    assert end == pytest.approx(WHOLE) and ghost < end - 100
    bandwidth, latency = (page.get_by_role("slider", name=name) for name in ("bandwidth", "latency"))
    was = f"before: {time_text(slow.makespan_s)}"
    assert was not in written(page)
    bandwidth.focus()
    bandwidth.press("End")
    assert was in written(page)
    page.wait_for_function("saved.length")
    bandwidth.press("ArrowLeft")  # the same slider goes on
    assert was in written(page)
    latency.focus()
    latency.press("End")
    said = written(page)
    assert was not in said and any(words.startswith("before: ") for words in said)


def test_a_prediction_is_named_after_its_hardware_wherever_the_sliders_stand(page: Page) -> None:
    slower = replace(catalogue["A100 cluster"], compute_scale=2.0)
    view = TimelineView(FAR.timeline(catalogue["H100 cluster"]), hardware=[slower])
    shown(page, view)
    kinds, picture = page.locator(".lab-tl-kinds"), page.get_by_role("img")
    expect(kinds).to_have_text("4 ranks, predicted for H100 cluster")
    page.get_by_role("slider", name="latency", exact=True).fill("200")
    page.get_by_role("slider", name="compute time").fill("300")
    expect(kinds).to_have_text(re.compile(r".*, changed: latency 31\.6 µs, compute time × 3\.16$"))
    page.wait_for_function("saved.length && saved.at(-1)._setting.compute_scale === 3.16")
    view.set_state({"_setting": page.evaluate("saved.at(-1)._setting")})
    assert view.timeline.prediction.name == "H100 cluster, changed: latency 31.6 µs, compute time × 3.16"
    expect(picture).to_have_attribute("aria-label", headline(view.timeline))
    page.get_by_role("combobox").select_option("A100 cluster, changed: compute time × 2.00")
    expect(kinds).to_have_text("4 ranks, predicted for A100 cluster, changed: compute time × 2.00")
    page.get_by_role("slider", name="latency", exact=True).fill("200")
    both = "A100 cluster, changed: latency 31.6 µs, compute time × 2.00"
    expect(kinds).to_have_text(f"4 ranks, predicted for {both}")
    page.wait_for_function("saved.at(-1)._setting.choice === 1 && saved.at(-1)._setting.latency_s > 3e-5")
    view.set_state({"_setting": page.evaluate("saved.at(-1)._setting")})
    assert view.timeline.prediction.name == both


def test_a_busy_machine_is_told_of(page: Page) -> None:
    shown(page, TimelineView(replace(ddp(4), others=(1.24, 2)).timeline()))
    told = "The machine was busy: 1.2 of 2 cores were taken by other processes."
    expect(page.locator(".lab-tl-busy")).to_have_text(told)
    show_timeline(page, TimelineView(ddp(4).timeline()))
    expect(page.locator(".lab-tl-busy")).to_have_count(0)


def test_a_peak_within_a_pixel_does_not_last_until_the_next_op(page: Page) -> None:
    """An op of a thousandth of the picture's width held 4 MB; through the long wait after it 1 MB is held."""
    ops = (
        compute(0, 0.0, 1e-3, live_bytes=10**6, peak_bytes=4 * 10**6),
        all_reduce(0, 0, 1e-3, 1e-3, 0.999, (0,)),
        compute(0, 0.999, 1.0, live_bytes=10**6, peak_bytes=10**6),
    )
    area = shown(page, TimelineView(Trace((ops,)).timeline()))
    width, top = int(area.bounding_box()["width"]), 22 + 26 + 1 + 9 + 1
    strip = [palette.MEMORY, LEFT + 100, top, width - RIGHT - 100, top + 14]
    assert 0.2 < page.evaluate(COUNT, strip) / ((strip[3] - strip[1]) * 14) < 0.4
