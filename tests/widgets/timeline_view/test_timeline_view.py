"""The timeline to touch, its Python side: what it sends, what it takes from the browser, what it says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from IPython.core.events import EventManager, available_events
from ipywidgets.widgets.widget import _instances
from timeline_samples import ddp, ring_all_reduce

from lab_utils.schedule import Costs, schedules
from lab_utils.schedule import simulate as simulate_schedule
from lab_utils.timeline.hardware import Device, Hardware, Link
from lab_utils.timeline.timeline import LIVE, SVG, Timeline, summary
from lab_utils.widgets import TimelineView
from lab_utils.widgets.kit import cells
from lab_utils.widgets.timeline_view import widget
from lab_utils.widgets.timeline_view.arrays import CODES

FAST, SLOW = Hardware(None, Link("fast", 5e-6, 25e9)), Hardware(None, Link("slow", 50e-6, 5e9))
DDP = ddp(4)
ORDER, COSTS = schedules.one_f_one_b(4, 8), Costs(1, 0.5, 0.5, 0.1)


def from_browser(view: TimelineView, **state: object) -> None:
    """What arrives when the browser saves these, after a way through JSON."""
    view.set_state(json.loads(json.dumps(state)))


def of_schedule() -> TimelineView:
    return TimelineView(simulate_schedule(ORDER, COSTS))


def arrays(view: TimelineView) -> dict[str, np.ndarray]:
    types = {code: kind for kind, code in CODES.items()}
    table = view._about["arrays"].items()
    return {name: np.frombuffer(view._data, types[kind], size, first) for name, (kind, first, size) in table}


def test_it_says_the_same_as_its_timelines_and_shows_the_still_picture() -> None:
    predicted, measured = DDP.timeline(SLOW), DDP.timeline()
    view = TimelineView(predicted, measured)
    assert repr(view) == f"{summary(measured)}\n\n{summary(predicted)}"
    data, _ = view._repr_mimebundle_()
    assert data["text/plain"] == repr(view) and data[SVG] == view.to_svg() == predicted.to_svg()
    assert data[LIVE]["model_id"] == view.model_id


def test_everything_that_is_sent_can_be_sent() -> None:
    view = TimelineView(DDP.timeline(SLOW), DDP.timeline(), [FAST])
    json.dumps([view._about, view._setting], allow_nan=False)
    assert all(first % 8 == 0 for _, first, _ in view._about["arrays"].values())


def test_the_slider_at_rest_moves_hardware_and_timeline() -> None:
    view = TimelineView(DDP.timeline(SLOW))
    moved = []
    view.observe(lambda change: moved.append(change["new"]), "hardware")
    from_browser(view, _setting={**view._setting, "latency_s": 0.00123, "compute_scale": 2.5})
    wanted = Hardware(None, Link("1.23 ms and 5.00 GB/s", 0.00123, 5e9), compute_scale=2.5)
    assert moved == [wanted] and view.hardware == wanted
    assert view.timeline.makespan_s == DDP.timeline(wanted).makespan_s > DDP.timeline(SLOW).makespan_s
    assert view.timeline is view.timeline  # placed once


def test_a_slider_moved_back_is_the_given_hardware() -> None:
    view = TimelineView(DDP.timeline(SLOW))
    given = view._setting
    from_browser(view, _setting={**given, "bytes_per_s": 1e9})
    from_browser(view, _setting=given)
    assert view.hardware == SLOW and view.timeline == DDP.timeline(SLOW)


def test_another_hardware_can_be_chosen() -> None:
    between = replace(FAST, ranks_per_node=2, across=Link("between", 1e-4, 1e9))
    view = TimelineView(DDP.timeline(SLOW), hardware=[SLOW, FAST, between])
    assert [choice["label"] for choice in view._about["choices"]] == [SLOW.name, FAST.name, between.name]
    about = ("label", "base", "base_name")
    chosen = {name: value for name, value in view._about["choices"][2].items() if name not in about}
    from_browser(view, _setting={**chosen, "choice": 2})
    assert view.hardware == between
    from_browser(view, _setting={**chosen, "choice": 2, "across_latency_s": 2e-4})
    assert view.hardware.across == Link("200 µs and 1.00 GB/s", 2e-4, 1e9) and view.hardware.link == FAST.link


def test_python_moves_the_sliders_too() -> None:
    view = TimelineView(DDP.timeline(SLOW), hardware=[FAST])
    view.hardware = FAST
    assert view._setting["choice"] == 1 and view._setting["latency_s"] == 5e-6
    view.hardware = replace(FAST, compute_scale=3.0)
    assert view._setting["choice"] == 1 and view._setting["compute_scale"] == 3.0
    assert view.timeline == DDP.timeline(view.hardware)
    view.hardware = None
    assert view.hardware == SLOW and view._setting["choice"] == 0


def test_what_is_selected_comes_back() -> None:
    measured, predicted = DDP.timeline(), DDP.timeline(SLOW)
    view = TimelineView(predicted, measured)
    seen = []
    view.observe(lambda change: seen.append(change["new"]), "selected")
    from_browser(view, selected=[1, 4], selected_measured=[0])
    assert seen == [[1, 4]]
    assert view.selected_spans == (measured.spans[0], predicted.spans[1], predicted.spans[4])


def test_the_browser_is_told_who_came_last() -> None:
    """In the sample rank 3 is the slowest to each bucket, and each wait ends when it has come."""
    sent, timeline = arrays(TimelineView(DDP.timeline())), DDP.timeline()
    last = {timeline.ops[at].rank for at in sent["0.op_last"].tolist() if at >= 0}
    assert last == {3}
    waits = [span for span in timeline.spans if span.activity == "waiting"]
    assert waits and all(sent["0.op_issue"][sent["0.op_last"][timeline.ops.index(s.op)]] == s.end_s for s in waits)


def test_a_partner_that_is_not_in_the_trace_is_nobody() -> None:
    lone = replace(ring_all_reduce(3), ops=(*ring_all_reduce(3).ops[:2], ()))
    view = TimelineView(lone.timeline())
    sent, ops = arrays(view), view.timeline.ops
    assert all(
        (last >= 0) == (op.kind != "compute" and 2 not in (op.rank, op.peer))
        for op, last in zip(ops, sent["0.op_last"], strict=True)
    )


def test_a_schedule_shows_its_kinds_and_sliders_for_its_costs() -> None:
    timeline = simulate_schedule(ORDER, COSTS)
    view = TimelineView(timeline)
    assert [meaning for _, meaning in view._about["legend"]] == ["F: forward", "BW: both backwards", "idle"]
    assert view.hardware is None and view.costs == COSTS and view.timeline is timeline
    from_browser(view, _setting={**view._setting, "forward": 2, "comm": 0})
    assert view.costs == Costs(2, 0.5, 0.5, 0) and view.hardware is None
    assert view.timeline == simulate_schedule(ORDER, Costs(2, 0.5, 0.5, 0)) != timeline
    view.costs = None
    assert view.costs == COSTS and view.timeline == timeline


def test_costs_of_each_stage_move_together() -> None:
    uneven = np.array([1.1, 0.9, 1, 1.3])
    view = TimelineView(simulate_schedule(ORDER, Costs(uneven, 0.5, [0.5] * 4, activation_bytes=[1e6] * 4)))
    assert view._about["by_stage"] == ["forward", "backward_weight"]
    from_browser(view, _setting={**view._setting, "forward": 1.7, "backward_input": 0.3})
    moved = Costs(tuple((uneven * 1.7).tolist()), 0.3, (0.5,) * 4, 0.0, (1e6,) * 4)
    assert view.costs == moved and view.timeline == simulate_schedule(ORDER, moved)
    view.costs = Costs(uneven / 3, 0.3, [0.5] * 4, activation_bytes=[1e6] * 4)
    assert view._setting["forward"] == pytest.approx(1 / 3)
    told = Costs(uneven * view._setting["forward"], 0.3, [0.5] * 4)  # as the browser computes it, to the last bit
    assert view.timeline == simulate_schedule(ORDER, told)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TimelineView(DDP.timeline(SLOW), ddp(2).timeline()), "2 and 4 ranks: both must be of the same ranks"),
        (lambda: TimelineView(DDP.timeline(), hardware=[FAST]), "is measured without a trace to place on it"),
        (lambda: TimelineView(DDP.timeline(SLOW), hardware=[replace(FAST, device=Device("d", 1e12, 1e12))]), "kernels"),
        (
            lambda: setattr(
                TimelineView(DDP.timeline(SLOW)), "hardware", replace(FAST, ranks_per_node=2, across=FAST.link)
            ),
            "ranks_per_node=2: this view knows None",
        ),
        (lambda: setattr(TimelineView(DDP.timeline()), "costs", COSTS), "costs is set, and this view is of a measured"),
        (lambda: setattr(of_schedule(), "hardware", FAST), "hardware is set, and this view moves costs"),
        (lambda: setattr(of_schedule(), "costs", Costs([1, 2, 1, 1])), "moves the stages together"),
        (lambda: setattr(of_schedule(), "costs", replace(COSTS, activation_bytes=1.0)), "sliders move times only"),
        (lambda: TimelineView(simulate_schedule(ORDER, COSTS), hardware=[FAST]), "is predicted without a trace"),
    ],
)
def test_what_cannot_be_shown_is_refused(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        make()


def test_too_many_spans_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widget, "MOST_SPANS", 10)
    with pytest.raises(ValueError, match=r"\d+ spans are more than a browser can hold, 10 is the most: .*to_svg"):
        TimelineView(DDP.timeline(SLOW))


class Notebook:
    """What a kernel's shell knows of the notebook: which cell runs, and which were deleted since the last."""

    def __init__(self) -> None:
        self.kernel, self.events, self.metadata = object(), EventManager(self, available_events), {}

    def get_parent(self) -> dict[str, object]:
        return {"metadata": self.metadata}

    def show(self, timeline: Timeline, deleted: Sequence[str] = (), **metadata: str) -> str:
        """Run a cell whose last line is the timeline; the id of the view in its output."""
        self.metadata = {"deletedCells": list(deleted), **metadata}
        self.events.trigger("pre_run_cell", None)
        return timeline._repr_mimebundle_()[LIVE]["model_id"]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    for module in (widget, cells):
        monkeypatch.setattr(module, "get_ipython", lambda: made)
    monkeypatch.setattr(cells, "_shown", {})
    return made


def test_a_timeline_is_live_in_a_notebook_only(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = DDP.timeline(SLOW)
    bundle = timeline._repr_mimebundle_()
    assert bundle[LIVE].keys() == {"version_major", "version_minor", "model_id"}
    assert bundle[SVG] and bundle["text/plain"] == summary(timeline)
    monkeypatch.setattr(widget, "MOST_SPANS", 10)
    assert widget.live(timeline) is None
    monkeypatch.undo()
    assert widget.live(timeline) is None and LIVE not in timeline._repr_mimebundle_()


def test_a_view_is_closed_when_its_cell_runs_again_or_is_deleted(notebook: Notebook) -> None:
    """The timeline stays, and so do the views of other cells; nothing is left of those that were closed."""
    before, timeline = set(_instances), DDP.timeline(SLOW)
    for _ in range(50):
        latest = notebook.show(timeline, cellId="a")
    other = notebook.show(timeline, cellId="b")
    views = {name for name in set(_instances) - before if isinstance(_instances[name], TimelineView)}
    assert views == {latest, other} and len(set(_instances) - before) == 4  # each has a layout
    again = notebook.show(timeline, ["b"], cellId="a")
    assert {latest, other}.isdisjoint(_instances) and again in _instances
    assert timeline.spans == DDP.timeline(SLOW).spans


def test_views_that_a_callback_shows_are_bounded(notebook: Notebook) -> None:
    shown = [notebook.show(DDP.timeline(SLOW)) for _ in range(cells.MOST_OUTSIDE + 3)]
    assert [name in _instances for name in shown] == [False] * 3 + [True] * cells.MOST_OUTSIDE


def test_the_parts_of_the_module_are_all_there_and_load_nothing() -> None:
    folder = widget.FOLDER / "js"
    files = list(folder.rglob("*.js"))
    assert sorted(widget.PARTS) == sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)
    for path in (*files, widget.FOLDER / "widget.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?:|//cdn|^\s*import\b|@import|url\(|innerHTML|eval\(", text, re.MULTILINE)
        assert len(text.splitlines()) <= 250 and max(map(len, text.splitlines())) <= 120
