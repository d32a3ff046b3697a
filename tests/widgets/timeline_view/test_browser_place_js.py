"""What sliders compute in the browser and what Python computes: the same to the last bit of a double."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page
from timeline_samples import MS, all_reduce, compute, ddp, ring_all_reduce, trace, wait
from widget_page import show

from lab_utils.schedule import Costs, schedules
from lab_utils.schedule import simulate as simulate_schedule
from lab_utils.timeline import Timeline, Trace
from lab_utils.timeline.hardware import Device, Hardware, Link
from lab_utils.timeline.ops import Rise
from lab_utils.timeline.simulator.simulate import costs
from lab_utils.timeline.timeline import headline
from lab_utils.widgets import TimelineView
from lab_utils.widgets.timeline_view.sliders import numbers

pytest_plugins = ["browser_fixtures"]

# Each figure of the view in this page, placed on `setting` or as it came, and named.
COMPUTED = """([setting, name]) => {
    const about = model.get("_about"), arrays = lab.unpacked(about.arrays, model.get("_data"));
    const figure = new lab.Figure(about.figures[0], lab.arraysOf(arrays, "0."), about.strings);
    if (setting) figure.retime(setting);
    figure.name = name;
    const columns = ["rank", "lane", "track", "activity", "start", "end", "op"].map((name) => [...figure.spans[name]]);
    return {
        cost: setting && [...lab.costs(figure.arrays, setting)],
        start: [...figure.placed.start], end: [...figure.placed.end],
        path: lab.criticalPath(figure.arrays, figure.placed, figure.lag), columns,
        phases: [[...figure.phaseStart], [...figure.phaseEnd]],
        memory: figure.memory && [[...figure.memory.time], [...figure.memory.held], figure.memory.words],
        says: lab.headline(figure),
    };
}"""


def counted(of: Trace) -> Trace:
    """The same trace with kernels, as if they had been counted: numbers without a short binary form."""
    ops = [
        [
            replace(
                op,
                flops=10**9 * (3 + at % 7) // 3,
                bytes=10**7 // (1 + at % 3),
                other_bytes=12_345 * at,
                kernels=at % 5,
                live_bytes=10**6 * at,
                peak_bytes=2 * 10**6 * at if at % 2 else None,
                rises=(Rise(0.0, 0.0, 10**5), Rise(0.7, 1 / 3, 2 * 10**6 * at)) if at % 3 else (),
            )
            if op.kind == "compute"
            else op
            for at, op in enumerate(rank_ops)
        ]
        for rank_ops in of.ops
    ]
    return replace(of, ops=tuple(map(tuple, ops)))


def sub_groups() -> Trace:
    """Rows and columns of 2 x 2 ranks, then all four; each group's collectives are a stream of their own."""
    ranks = []
    for rank in range(4):
        row, column = (rank // 2 * 2, rank // 2 * 2 + 1), (rank % 2, rank % 2 + 2)
        own = [compute(rank, 0, (3 + rank / 7) * MS)]
        for seq in range(3):
            own.append(
                replace(all_reduce(rank, seq, 0, None, 0, row, bytes=10**6, asynchronous=True), group=f"row{row[0]}")
            )
            own.append(compute(rank, 0, (1 + seq / 3) * MS))
            own.append(replace(all_reduce(rank, seq, 0, 0, 0, column, bytes=3 * 10**5), group=f"column{column[0]}"))
            own.append(wait(rank, len(own) - 3, 0, 0))
        own.append(replace(all_reduce(rank, 0, 0, 0, 0, range(4), bytes=10**7), name="all_gather"))
        ranks.append(own)
    return trace(*ranks)


TRACES = {"ddp": ddp(5, 4, 3), "ring": ring_all_reduce(7), "sub-groups": sub_groups(), "one rank": ddp(1, 2)}
DEVICE = Device("a device", 3.1e12, 0.7e12, launch_s=4.7e-6, issue_s=2.3e-6)
LINK, ACROSS = Link("within", 3.3e-6, 21.7e9), Link("between", 17e-6, 2.9e9)
COSTS = ("forward", "backward_input", "backward_weight", "comm")
HARDWARE = {
    "as measured": Hardware(None, LINK),
    "slower as measured": Hardware(None, Link("slow", 0.7e-3, 1.1e8), compute_scale=1.7),
    "a device": Hardware(DEVICE, LINK, compute_scale=0.3),
    "nodes of two": Hardware(DEVICE, LINK, 2, ACROSS),
    "rings between nodes": Hardware(DEVICE, LINK, 2, ACROSS, "ring"),
    "a ring per NIC": Hardware(DEVICE, LINK, 2, ACROSS, "rings"),
    "a ring per NIC, slow inside": Hardware(DEVICE, replace(LINK, bytes_per_s=1.3e9), 2, ACROSS, "rings"),
    "gloo": Hardware(None, LINK, algorithm="gloo"),
    "two levels": Hardware(None, LINK, 2, ACROSS, "two_level"),
    "trees": Hardware(None, LINK, algorithm="tree"),
}


def computed_in(page: Page, setting: dict[str, Any] | None, timeline: Timeline) -> dict[str, Any]:
    return page.evaluate(COMPUTED, [setting, timeline.prediction.name])


def assert_same(computed: dict[str, Any], timeline: Timeline) -> None:
    times, c = timeline.prediction.times, timeline.columns
    np.testing.assert_array_equal(computed["start"], times.start_s)
    np.testing.assert_array_equal(computed["end"], times.end_s)
    assert computed["path"] == list(times.critical_path)
    expected = (c.rank, c.lane, c.track, c.activity, c.start_s, c.end_s, c.op)
    for mine, its in zip(computed["columns"], expected, strict=True):
        np.testing.assert_array_equal(mine, its)
    assert computed["says"] == headline(timeline)
    phases = sorted((p.start_s, p.end_s) for phases in timeline.phases for p in phases)
    assert sorted(zip(*computed["phases"], strict=True)) == phases
    *steps, words = computed["memory"]
    held = [np.concatenate([getattr(each, name) for each in timeline.memory]) for name in ("time_s", "held")]
    np.testing.assert_array_equal(steps, held)
    counted = [f"≤ {each.peak:g}" if each.unit == "micro-batches" else each.text(each.peak) for each in timeline.memory]
    assert words == counted


@pytest.mark.parametrize("of", TRACES.values(), ids=TRACES.keys())
def test_every_hardware_places_a_trace_as_python_does(page: Page, of: Trace) -> None:
    of = counted(of)
    show(page, TimelineView(of.timeline(HARDWARE["as measured"]), hardware=list(HARDWARE.values())))
    assert_same(computed_in(page, None, of.timeline(HARDWARE["as measured"])), of.timeline(HARDWARE["as measured"]))
    for hardware in HARDWARE.values():
        computed = computed_in(page, numbers(hardware), of.timeline(hardware))
        np.testing.assert_array_equal(computed["cost"], costs(of.lowered, hardware))
        assert_same(computed, of.timeline(hardware))


@pytest.mark.parametrize("activation_bytes", [None, [1e6, 3e6, 2e6, 0, 1e5]])
@pytest.mark.parametrize("order", [schedules.gpipe, schedules.one_f_one_b])
def test_a_schedule_is_placed_as_python_does_wherever_its_sliders_stand(
    page: Page, order: Any, activation_bytes: list[float] | None
) -> None:
    made, uneven = order(stages=5, microbatches=9), [1.1, 0.9, 1, 1.3, 0.7]
    view = TimelineView(simulate_schedule(made, Costs(uneven, 0.61, 0.53, 1 / 3, activation_bytes)))
    show(page, view)
    assert_same(computed_in(page, None, view.timeline), view.timeline)
    for numbers_set in ((1.7, 0.3, 1.0, 0.1), (0.0, 0.61, 0.53, 0.0), (1.0, 0.0, 0.0, 0.2), (1 / 3, 0.1, 0.7, 0.0)):
        view.set_state({"_setting": dict(zip(COSTS, numbers_set, strict=True)) | {"choice": 0}})
        assert_same(computed_in(page, view._setting, view.timeline), view.timeline)


def test_a_link_without_latency_costs_its_bytes_alone(page: Page) -> None:
    """No algorithm is infinitely slow there, nor not a number."""
    hardware = Hardware(None, Link("no latency", 0.0, 1e9))
    show(page, TimelineView(TRACES["ddp"].timeline(HARDWARE["as measured"])))
    cost = page.evaluate(COMPUTED, [numbers(hardware), ""])["cost"]
    assert cost[-1] == 2 * 4 / 5 * (25 << 20) / 1e9


def test_a_circle_is_an_error_not_a_picture(page: Page) -> None:
    show(page, TimelineView(TRACES["one rank"].timeline(HARDWARE["as measured"])))
    circle = """() => lab.place({ first: [0, 1, 2], cost_class: [0, 0], edge_first: [0, 1, 2], edge_from: [1, 0],
        edge_class: [0, 0] }, [1], [0])"""
    with pytest.raises(Exception, match="2 of 2 nodes wait for each other in a circle"):
        page.evaluate(circle)
