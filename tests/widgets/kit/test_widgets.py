"""The live curve's Python side: which reports count, how often it redraws, and what it says of itself."""

from __future__ import annotations

import json
import math
import re

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lab_utils.timeline.timeline import LIVE
from lab_utils.widgets import LiveCurve
from lab_utils.widgets.kit import cells
from lab_utils.widgets.live_curve import widget


class Clock:
    """Stands for time.monotonic; `tick_s` passes between two reports."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(widget.time, "monotonic", clock)
    return clock


def watched(live: LiveCurve) -> list[dict]:
    """The states that go to the browser from now on."""
    sent: list[dict] = []
    live.observe(lambda change: sent.append(change["new"]), "state")
    return sent


def feed(live: LiveCurve, clock: Clock, steps: range, tick_s: float) -> None:
    for step in steps:
        live.on_report(0, {"step": step, "loss": 5.0 - step / 100})
        clock.now_s += tick_s


def test_a_slow_training_redraws_at_each_step(clock: Clock) -> None:
    live = LiveCurve(steps=5)
    sent = watched(live)
    feed(live, clock, range(5), tick_s=1.0)
    assert [state["done"] for state in sent] == [1, 2, 3, 4, 5]
    assert sent[2]["elapsed_s"] == 2.0 and sent[2]["left_s"] == 2.0 and sent[0]["left_s"] is None
    assert [state["running"] for state in sent] == [True] * 4 + [False]
    assert sent[-1]["points"] == [[step, 5.0 - step / 100] for step in range(5)] and sent[-1]["loss"] == "4.960"


def test_a_fast_training_redraws_twenty_times_a_second_and_keeps_every_point(clock: Clock) -> None:
    live = LiveCurve(steps=1000)
    sent = watched(live)
    feed(live, clock, range(1000), tick_s=0.002)
    assert 35 <= len(sent) <= 42  # two seconds
    assert len(live.points) == 1000 and sent[-1]["done"] == 1000 and sent[-1]["points"][-1] == [999, 5.0 - 9.99]


def test_a_long_curve_is_thinned_on_its_way(clock: Clock) -> None:
    live = LiveCurve(steps=5_000)
    sent = watched(live)
    feed(live, clock, range(5_000), tick_s=0.001)
    assert max(len(state["points"]) for state in sent) <= widget.MOST_DRAWN + 1
    assert len(live.points) == 5_000 and len(json.dumps(sent[-1])) < 20_000


def test_only_rank_0_and_only_step_and_loss_count(clock: Clock) -> None:
    live = LiveCurve(steps=5)
    live.on_report(1, {"step": 0, "loss": 1.0})
    live.on_report(0, {"step": 0})
    live.on_report(0, {"note": "hello"})
    assert live.points == [] and live.state == {}


def test_a_second_training_begins_a_new_curve(clock: Clock) -> None:
    live = LiveCurve(steps=10)
    feed(live, clock, range(10), tick_s=1.0)
    feed(live, clock, range(3), tick_s=1.0)
    assert [step for step, _ in live.points] == [0, 1, 2] and live.state["elapsed_s"] == 2.0


def test_losses_that_are_not_numbers_are_said_and_not_sent(clock: Clock) -> None:
    live = LiveCurve(steps=3)
    for step, loss in enumerate((2.0, math.nan, math.inf)):
        live.on_report(0, {"step": step, "loss": loss})
        clock.now_s += 1
    assert live.state["points"] == [[0, 2.0]] and live.state["loss"] == "inf" and len(live.points) == 3
    json.dumps(live.state, allow_nan=False)
    assert "2 not a number" in repr(live.picture())


def test_the_last_points_come_when_the_cell_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = InteractiveShell()
    monkeypatch.setattr(cells, "get_ipython", lambda: shell)
    live = LiveCurve(steps=100)
    sent = watched(live)
    feed(live, clock, range(43), tick_s=0.0001)
    assert len(sent) == 1
    shell.events.trigger("post_run_cell", None)
    assert len(sent) == 2 and sent[-1]["done"] == 43 and not sent[-1]["running"]
    shell.events.trigger("post_run_cell", None)  # a cell that trains nothing
    assert len(sent) == 2


def test_it_names_itself_the_same_on_every_run() -> None:
    live, other = LiveCurve(steps=300, title="Loss on 4 ranks"), LiveCurve(steps=300, title="Loss on 4 ranks")
    said = "Loss on 4 ranks: the curve of 300 steps grows here while the ranks train"
    assert repr(live) == repr(other) == said and live._repr_mimebundle_()[0]["text/plain"] == said


class Shown:
    """Stands for a display: what it was given, first and later."""

    def __init__(self) -> None:
        self.given: list[dict] = []

    def display(self, data: dict, raw: bool) -> None:
        assert raw
        self.given.append(data)

    update = display


def test_what_is_stored_of_a_curve_that_has_ended_is_the_curve(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another cell shows it; a curve of losses that are no numbers is told in words."""
    shell, displays = InteractiveShell(), [Shown(), Shown()]
    monkeypatch.setattr(cells, "get_ipython", lambda: shell)
    waiting = iter(displays)
    monkeypatch.setattr(widget, "DisplayHandle", lambda: next(waiting))
    live = LiveCurve(steps=100)
    live._ipython_display_(), live._ipython_display_()
    assert [list(shown.given[0]) for shown in displays] == [["text/plain", LIVE]] * 2
    feed(live, clock, range(43), tick_s=0.0001)
    assert [len(shown.given) for shown in displays] == [1, 1]
    shell.events.trigger("post_run_cell", None)
    for first, last in (shown.given for shown in displays):
        assert last["image/svg+xml"] == live.picture().svg and last["text/plain"] == live.picture().words
        assert last[LIVE] == first[LIVE]
    odd = LiveCurve(steps=1)
    odd.on_report(0, {"step": 0, "loss": math.nan})
    assert "image/svg+xml" not in odd._repr_mimebundle_()[0] and "grows here" in repr(odd)


def test_the_picture_is_that_of_all_points(clock: Clock) -> None:
    live = LiveCurve(steps=40, title="Loss on 4 ranks")
    with pytest.raises(ValueError, match="no loss to draw"):
        live.picture()
    feed(live, clock, range(40), tick_s=0.001)
    assert repr(live.picture()).splitlines()[1] == "loss: 5.00 at step 0, 4.61 at step 39, lowest 4.61 at step 39"


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps=0: a curve needs at least 1 step"):
        LiveCurve(steps=0)


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name in ("widget.js", "widget.css"):
        text = (widget.FOLDER / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//cdn|\bimport\b|@import|url\(", text)
        assert len(text.splitlines()) < 120


def test_reports_of_real_ranks_arrive(ranks2) -> None:
    def train(steps: int) -> None:
        from lab_utils.comm import report

        for step in range(steps):
            report(step=step, loss=1 / (step + 1))

    live = LiveCurve(steps=50)
    ranks2.run(train, 50, on_report=live.on_report)
    assert live.points == [(step, 1 / (step + 1)) for step in range(50)] and live.state["done"] == 50
