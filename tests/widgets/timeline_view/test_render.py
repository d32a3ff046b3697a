"""The timeline picture: deterministic, well-formed, legible, and true to the numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timeline_samples import all_reduce, compute, ddp, ring_all_reduce

from lab_utils.render import palette, to_svg
from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.timeline import Op, Phase, Timeline, Trace, register_renderer
from lab_utils.timeline import timeline as timeline_module
from lab_utils.timeline.hardware import Hardware, Link
from lab_utils.widgets.timeline_view.layout import PLOT_LEFT, PLOT_RIGHT, nested

SVG = "{http://www.w3.org/2000/svg}"


def parsed(timeline: Timeline) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(timeline))


def boxes(picture: ElementTree.Element, rank: int, lane: str = "own") -> list[ElementTree.Element]:
    row = picture.find(f".//{SVG}g[@data-rank='{rank}']")
    return row.findall(f"{SVG}rect[@data-lane='{lane}']")


def texts(picture: ElementTree.Element) -> list[str]:
    return [element.text for element in picture.iter(f"{SVG}text")]


def test_equal_timelines_give_equal_bytes() -> None:
    assert to_svg(ddp().timeline()) == to_svg(ddp().timeline())


def test_last_digits_that_depend_on_the_processor_change_no_byte() -> None:
    """A stored picture is compared where products and sums may be rounded in another order."""
    schedule, costs = schedules.zb_h1(stages=4, microbatches=8), Costs(0.0123, 0.0157, 0.0091, comm=0.0013)
    one, other = (simulate(schedule, each) for each in (costs, costs.divided(1 + 1e-13)))
    assert one.makespan_s != other.makespan_s
    assert to_svg(one) == to_svg(other)


def test_another_process_with_other_hashes_draws_the_same_bytes() -> None:
    code = "import timeline_samples as s; print(s.ddp().timeline().to_svg(), end='')"
    environment = os.environ | {
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONIOENCODING": "utf-8",
    }
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert other.stdout.decode() == to_svg(ddp().timeline())


def test_other_timelines_have_other_ids_so_pictures_can_share_a_page() -> None:
    ids = [set(re.findall(r'id="([^"]+)"', to_svg(t.timeline()))) for t in (ddp(), ring_all_reduce(4))]
    assert ids[0] and not ids[0] & ids[1]
    for t in (ddp(), ring_all_reduce(4)):
        svg = to_svg(t.timeline())
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(re.findall(r'id="([^"]+)"', svg))


def test_the_picture_describes_itself() -> None:
    t = ddp().timeline()
    picture = parsed(t)
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == picture.find(f"{SVG}title").text == str(t).splitlines()[0]
    assert picture.find(f"{SVG}desc").text == str(t)
    assert picture.get("viewBox").startswith("0 0 900 ")
    assert picture.get("width") is None  # it fits itself to the cell


def test_numbers_rows_and_legend_stand_in_the_picture() -> None:
    shown = texts(parsed(ddp().timeline()))
    assert {"18.1 ms", "23.1 %", "4.18 ms", "makespan", "bubble fraction", "time (ms)"} <= set(shown)
    assert [f"rank {rank}" for rank in range(4)] == [text for text in shown if text.startswith("rank ")]
    assert {"73.0 %", "75.6 %", "78.2 %", "80.8 %"} <= set(shown)
    for activity in palette.ACTIVITIES:
        assert any(text.split(":")[0] == activity for text in shown)
    assert {"forward", "backward", "aggregate", "update", "all_reduce"} <= set(shown)


def test_a_mark_stands_where_its_span_is_in_time() -> None:
    ops = (compute(0, 0, 1), compute(0, 3, 4)), (compute(1, 1, 3),)
    first, second = boxes(parsed(Trace(ops).timeline()), 0)
    second_wide = (PLOT_RIGHT - PLOT_LEFT) / 4
    assert (float(first.get("x")), float(first.get("width"))) == (PLOT_LEFT, second_wide)
    assert float(second.get("x")) == PLOT_LEFT + 3 * second_wide
    assert first.get("data-activity") == "compute"


def test_merged_marks_stack_compute_below_communication() -> None:
    ops = [compute(0, at, at + 0.5) for at in range(2000)]
    ops = [
        one for op in ops for one in (op, all_reduce(0, round(op.issue_s), op.done_s, op.done_s, op.done_s + 0.5, (0,)))
    ]
    low, high = boxes(parsed(Trace((tuple(ops),)).timeline()), 0)[:2]
    assert (low.get("data-activity"), high.get("data-activity")) == ("compute", "communication")
    assert float(high.get("y")) + float(high.get("height")) == pytest.approx(float(low.get("y")), abs=0.02)


def test_every_mark_tells_what_it_is() -> None:
    picture = parsed(ddp().timeline())
    tips = [box.find(f"{SVG}title").text for box in boxes(picture, 0)]
    assert "rank 0 compute: start 0 s, duration 4.00 ms" in tips[0]
    communication = next(tip for tip in tips if "communication" in tip)
    assert communication.startswith("all_reduce · group world, number 1 · 26.2 MB\ntrain.py:41 · phase backward\n")
    stand_for = (replace(op, run_as="all_to_all", ranks=(0,)) for op in ddp().ops[0] if op.kind == "collective")
    tips = [box.find(f"{SVG}title").text for box in boxes(parsed(Trace((tuple(stand_for),)).timeline()), 0)]
    assert tips[0].startswith("all_reduce · run as all_to_all · group world, number ")
    tips = [box.find(f"{SVG}title").text for box in boxes(parsed(ring_all_reduce(4).timeline()), 0)]
    assert any(tip.startswith("recv · from rank 3, number 0, tag 0 · 262 kB\n") for tip in tips)


def test_activities_differ_in_colour_pattern_and_lightness() -> None:
    looks = palette.ACTIVITIES.values()
    assert len({look.pattern for look in looks}) == len({look.fill for look in looks}) == 3
    for one, other in combinations(looks, 2):
        assert contrast(one.fill, other.fill) >= 1.5
    for look in looks:
        assert contrast(look.fill, look.ink) >= 4.5
        if look.pattern != "plain":
            assert contrast(look.pattern_ink, look.ink) >= 3
    for tint in (palette.CARD, palette.LANE, *palette.PHASES):
        assert contrast(tint, palette.INK) >= 7
    assert contrast(palette.CARD, palette.QUIET_INK) >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, "relative luminance" and "contrast ratio")."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@given(st.text(), st.text(), st.text())
@settings(max_examples=60)
def test_any_name_gives_a_well_formed_picture(name: str, source: str, phase: str) -> None:
    op = Op(0, "collective", name, name, (0,), source=source, phase=phase, issue_s=0, wait_s=0, done_s=1)
    t = Trace(((op,),), ((Phase(0, phase, 0, 1),),)).timeline()
    ElementTree.fromstring(to_svg(t).encode("utf-8"))


@pytest.mark.parametrize("ranks", [0, 1, 8, 9, 32, 33, 200])
def test_rows_of_any_number_of_ranks_keep_apart(ranks: int) -> None:
    picture = parsed(ddp(ranks, 2).timeline() if ranks else Trace(()).timeline())
    height = float(picture.get("viewBox").split()[3])
    lower = 0.0
    for rank in range(ranks):
        edges = [(float(b.get("y")), float(b.get("y")) + float(b.get("height"))) for b in boxes(picture, rank)]
        assert min(edges)[0] >= lower
        lower = max(edge for _, edge in edges)
    labels = [float(t.get("y")) for t in picture.iter(f"{SVG}text") if t.text.startswith("rank ")]
    assert all(b - a >= 14 for a, b in pairwise(labels))
    assert lower < height < 1200


def test_phases_nest_and_short_ones_are_named_in_the_legend() -> None:
    phases = [
        Phase(0, "step", 0, 10),
        Phase(0, "forward", 0, 6),
        Phase(0, "clip", 6, 6.1),
        Phase(0, "next", 10, 11),
    ]
    assert [(level, phase.name) for level, phase in nested(phases[::-1])] == [
        (0, "step"), (1, "forward"), (1, "clip"), (0, "next"),
    ]  # fmt: skip
    picture = parsed(Trace(((compute(0, 0, 11),),), (tuple(phases),)).timeline())
    assert "phase clip" in texts(picture) and "forward" in texts(picture)
    assert "phase forward" not in texts(picture)
    bands = {b.get("data-phase"): float(b.get("y")) for b in picture.iter(f"{SVG}rect") if b.get("data-phase")}
    assert bands["step"] == bands["next"] < bands["forward"] == bands["clip"]


def test_a_name_is_drawn_only_where_it_fits() -> None:
    def shown(short_s: float) -> int:
        ops = tuple(replace(compute(0, at, at + short_s), name="attention") for at in range(10))
        return texts(parsed(Trace(((*ops, compute(0, 10, 40)),)).timeline())).count("attention")

    assert (shown(0.2), shown(1)) == (0, 0)
    ops = (replace(compute(0, 0, 10), name="attention"), compute(0, 10, 40))
    assert "attention" in texts(parsed(Trace((ops,)).timeline()))


def test_a_timeline_shows_itself_in_a_cell() -> None:
    t = ddp().timeline()
    assert t._repr_mimebundle_() == {"image/svg+xml": to_svg(t, hover=False), "text/plain": repr(t)}
    assert t.to_svg() == to_svg(t)


def test_without_a_renderer_the_error_says_what_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_module, "_renderers", {})
    with pytest.raises(RuntimeError, match=r"import lab_utils\.render first"):
        ddp().timeline().to_svg()
    register_renderer("image/svg+xml", lambda timeline, hover: f"{timeline.world_size} ranks")
    assert ddp().timeline().to_svg() == "4 ranks"


def test_a_strip_of_memory_is_explained_where_there_is_one() -> None:
    said, without = "strip below: memory held", ddp().timeline()
    with_memory = simulate(schedules.gpipe(2, 2), Costs())
    assert with_memory.memory and any(said in text for text in texts(parsed(with_memory)))
    assert not without.memory and not any(said in text for text in texts(parsed(without)))


def test_a_prediction_names_its_hardware_below_its_title_and_a_long_name_takes_a_second_line() -> None:
    wire = Hardware(None, Link("Ethernet", 50e-6, 5e9))
    assert "4 ranks, predicted for Ethernet, computing as measured" in " ".join(texts(parsed(ddp().timeline(wire))))
    long = Hardware(None, Link("a link with a long name", 50e-6, 5e9), 2, Link("another that is as long", 1e-4, 1e9))
    picture = parsed(ddp().timeline(long))
    lines = [(element.text, float(element.get("y"))) for element in picture.iter(f"{SVG}text")]
    (first, y), (second, below) = (line for line in lines if line[1] in (53, 69))
    assert f"{first} {second}" == f"4 ranks, predicted for {long.name}" and y < below
    assert long.name in picture.get("aria-label") and long.name in picture.find(f"{SVG}desc").text
    assert "4 ranks, measured" in texts(parsed(ddp().timeline()))


def test_waiting_is_said_to_be_for_the_wire_too_where_ops_queue_for_it() -> None:
    """With three buckets on a slow wire, the second waits until the first has passed, when all ranks have come."""
    slow = ddp().timeline(Hardware(None, Link("slow", 50e-6, 1e9)))
    queued = [s for s in slow.lane(3, "wire") if s.activity == "waiting"]  # rank 3 comes last, and waits for no rank
    assert queued
    assert "waiting: a partner has not entered, or the wire is taken" in texts(parsed(slow))
    assert "waiting: a partner has not entered" in texts(parsed(ddp().timeline()))
