"""ScheduleExplorer without a browser: every order at odd sizes, reasons of pauses, text, placing by hand, ranks."""

from __future__ import annotations

import gc
import re
import weakref
from dataclasses import replace

import numpy as np
import pytest
import traitlets
from schedule_times import times_of

from lab_utils.ranks import Ranks
from lab_utils.schedule import Costs, Schedule, search
from lab_utils.schedule.pauses import gaps
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer.choice import FOUND

COSTS = {"forward": 1.25, "backward_input": 1.5, "backward_weight": 0.5, "communication": 0.25}


def boxes(explorer: ScheduleExplorer) -> np.ndarray:
    return np.frombuffer(explorer._boxes, "<f4").reshape(-1, 6)


@pytest.mark.parametrize("name", [*BY_NAME, *FOUND])
@pytest.mark.parametrize(("p", "m"), [(2, 1), (4, 3), (6, 13)])
def test_every_order_is_placed_as_an_independent_calculation_places_it(name: str, p: int, m: int) -> None:
    explorer = ScheduleExplorer(choice=name, p=p, m=m, **COSTS)
    schedule = explorer.schedule
    assert (explorer.says, schedule.ranks, schedule.microbatches) == ("", p, m)
    per_stage = [cost / schedule.virtual_stages for cost in list(COSTS.values())[:3]]
    times = times_of(schedule.orders, schedule.stages, *per_stage, COSTS["communication"])
    drawn = {(r, k, s, i): (a, b) for r, k, s, i, a, b in boxes(explorer).tolist()}
    assert drawn.keys() == times.keys()
    for op, found in drawn.items():
        assert found == pytest.approx(times[op], rel=1e-5, abs=1e-5)
    makespan = max(end for _, end in times.values())
    assert explorer.timeline.makespan_s == pytest.approx(makespan)
    assert explorer._drawn["facts"][0][1] == f"{makespan:.4g}"
    assert explorer._drawn["peaks"] == list(schedule.peak_activations)
    assert_gaps(explorer, times, makespan)


def assert_gaps(explorer: ScheduleExplorer, times: dict, makespan: float) -> None:
    """Every pause of every rank, and in its words the op on another rank that ends last before it is over."""
    found = {(gap.rank, round(gap.start, 6), round(gap.end, 6)): (gap.why, gap.needs) for gap in explorer.shown.gaps}
    wanted = set()
    for rank in range(explorer.schedule.ranks):
        mine = sorted(at for op, at in times.items() if op[0] == rank)
        edges = [0.0, *(time for at in mine for time in at), makespan]
        pauses = zip(edges[::2], edges[1::2], strict=True)
        wanted |= {(rank, round(a, 6), round(b, 6)) for a, b in pauses if b - a > 1e-6}
    assert found.keys() == wanted
    for (rank, _, end), (why, needs) in found.items():
        if why.startswith("end ramp"):
            assert end == pytest.approx(makespan) and needs == -1 and why.endswith(f"ends at {makespan:.4g}")
            continue
        kind, number, stage, other, ends = re.search(r"(F|BW|B)(\d+) of stage (\d+), which rank (\d+) ends at ([\d.]+)",
                                                     why).groups()  # fmt: skip
        needed = times[int(other), ("F", "B", "W", "BW").index(kind), int(stage), int(number)]
        assert float(ends) == pytest.approx(needed[1], rel=1e-3) and int(other) != rank
        assert explorer.schedule.ops[needs].name == f"{kind}{number}" and explorer.schedule.rank[needs] == int(other)
        assert needed[1] + COSTS["communication"] == pytest.approx(end, abs=1e-5)
        assert why.startswith("start ramp") == (min(at for op, at in times.items() if op[0] == rank)[0] >= end - 1e-5)


def test_a_pause_names_a_weight_gradient_that_was_ready() -> None:
    late = Schedule.of("late", ["F0 B0 F1 B1 W0 W1", "F0 B0 W0 F1 B1 W1"])
    explorer = ScheduleExplorer(choice="own", text="\n".join(late.orders))
    whys = [gap.why for gap in explorer.shown.gaps if gap.rank == 0]
    assert "W0 of stage 0 was ready meanwhile" in whys[1] and "meanwhile" not in whys[0]


def test_what_cannot_be_is_said_and_the_picture_stays() -> None:
    explorer = ScheduleExplorer(choice="dualpipe", p=4, m=8)
    drawn = explorer._drawn
    explorer.p = 3
    assert "takes an even number" in explorer.says and explorer._drawn is drawn
    explorer.p = 2
    assert explorer.says == "" and explorer.schedule.ranks == 2
    explorer.choice, explorer.limit = "found", 0.5
    assert "one micro-batch on its way takes 1" in explorer.says
    with pytest.raises(ValueError, match="even number"):
        ScheduleExplorer(choice="dualpipe", p=3)
    for wrong in ({"p": 0}, {"m": 257}, {"forward": 0.0}, {"communication": -1.0}, {"limit": float("inf")}):
        with pytest.raises(traitlets.TraitError, match=next(iter(wrong))):
            ScheduleExplorer(**wrong)


def test_text_that_is_no_order_is_explained() -> None:
    explorer = ScheduleExplorer(p=2, m=2)
    explorer.choice = "own"
    assert explorer.text == "F0 F1 BW0 BW1\nF0 BW0 F1 BW1"  # what was in the picture
    for text, said in {
        "F0 BW0 F1 BW1\nF0 F1 BWx": "'BWx' is no op",
        "F0 F1 BW0\nF999 BW0": "1000 micro-batches on 2 stages take at least",
        "": "no order is written",
    }.items():
        explorer.text = text
        assert said in explorer.says and explorer.schedule.orders == ("F0 F1 BW0 BW1", "F0 BW0 F1 BW1")
    explorer.text = "F0 F1 F2 BW2 BW0 BW1\nF0 F1 F2 BW2 BW0 BW1\nF0 F1 F2 BW2 BW0 BW1"
    assert (explorer.says, explorer.p, explorer.m, explorer.schedule.name) == ("", 3, 3, "your own order")
    explorer.p = 5  # follows from what is written
    assert explorer.p == 3
    explorer.limit = 2.0
    assert explorer._drawn["fits"] == "It does not fit: ranks 0, 1, 2 would hold more than 2."


def test_dualpipe_can_be_written_too() -> None:
    explorer = ScheduleExplorer(choice="dualpipe", p=4, m=6)
    explorer.choice = "own"
    assert explorer.says == "" and explorer.schedule.copies == 2
    explorer.text = explorer.text.replace("0F0", "1F0", 1)
    assert explorer.says


def test_a_bound_stands_beside_named_orders() -> None:
    explorer = ScheduleExplorer(choice="zb_v", p=3, m=4, limit=3.0, **COSTS)
    bound = search(3, 4, Costs(*COSTS.values()).divided(2), 3.0, stage_layout="v").bound
    assert explorer._drawn["remark"] == (
        f"No order with these stages within the limit of 3 is shorter than {bound.length:.4g}: {bound.because}."
    )
    assert explorer.timeline.makespan_s >= bound.length
    explorer.choice, explorer.p = "dualpipe", 4
    assert "twice the weights" in explorer._drawn["remark"]


def test_words_and_picture_stay_the_same() -> None:
    explorer, again = (ScheduleExplorer(choice="zb_h1", p=4, m=8) for _ in range(2))
    assert explorer.to_svg() == again.to_svg() and explorer.to_svg().startswith("<svg")
    assert repr(explorer) == (
        "ZB-H1: 4 ranks, 8 micro-batches\nmakespan 27; bubble fraction 11.1 %; bubble rate 11.1 %\n"
        "activations per rank, in micro-batches of a full stage: 4, 4, 4, 4"
    )
    assert explorer.words().count("\n- ") == len(explorer.shown.gaps)
    bundle, _ = explorer._repr_mimebundle_()
    assert bundle["image/svg+xml"] == explorer.to_svg() and bundle["text/plain"] == repr(explorer)
    assert all(f">{kind}0</text>" in explorer.to_svg() for kind in "FBW")
    explorer.limit = 3.0
    assert explorer.to_svg().count("! holds 4 of 3") == 4
    explorer.backward_weight = 2.0
    assert explorer.to_svg() != again.to_svg()
    empty = ScheduleExplorer(choice="hand")
    assert empty.to_svg().startswith("<svg") and gaps(empty.schedule, empty.shown.start, empty.shown.end) == []


def test_an_order_of_the_readers_runs_on_ranks_and_equals_serial(ranks2: Ranks) -> None:
    def loaded() -> list[list[str]]:  # tests that ran before may have loaded them
        return ranks2.run(lambda: sorted({"anywidget", "ipywidgets"} & __import__("sys").modules.keys()))

    before = loaded()
    explorer = ScheduleExplorer(ranks2, choice="own", text="F0 F1 F2 B0 BW2 W0 BW1\nF0 BW0 F2 F1 BW2 B1 W1")
    assert (explorer.p, explorer._about["can_run"], explorer.run()) == (2, 2, "")
    ran = explorer.result
    assert ran.parity.equal and ran.same_order and ran.peaks == explorer.schedule.peak_activations == (3.0, 2.0)
    said = explorer._ran["says"]
    assert "✓ parity: 2 ranks equal serial" in said[1] and "the order executed is the schedule's" in said[0]
    assert "activations per rank, measured 3, 2; predicted 3, 2" in said
    busy = replace(ran, trace=replace(ran.trace, others=(1.0, 2)))
    assert busy.sentences[-1] == "The machine was busy: 1.0 of 2 cores were taken by other processes."
    ops = len(explorer.schedule)
    measured, predicted = np.frombuffer(explorer._ran_boxes, "<f4").reshape(2, ops, 6)
    assert explorer._ran["ops"] == ops and (measured[:, :4] == predicted[:, :4]).all()
    assert (measured[:, 5] > measured[:, 4]).all() and measured[:, 5].max() <= explorer._ran["lengths"][0] * (1 + 1e-6)
    for rows in (measured[measured[:, 0] == 0], measured[measured[:, 0] == 1]):
        assert (rows[1:, 4] >= rows[:-1, 5]).all()  # one after the other, in the schedule's order
    assert loaded() == before


def test_fewer_ranks_than_there_are_and_what_cannot_run(ranks2: Ranks) -> None:
    explorer = ScheduleExplorer(ranks2, choice="zb_v", p=1, m=2)
    assert explorer.run() == "" and explorer.result.parity.ranks == 1
    explorer.choice = "hand"
    assert "it cannot run yet: rank 0 runs nothing" in explorer.run() and explorer._ran["state"] == "failed"
    explorer.choice, explorer.p = "gpipe", 3
    assert "is for 3 ranks, and there are 2" in explorer.run()
    assert "no ranks were given" in ScheduleExplorer().run()


def test_it_does_not_keep_ranks_alive() -> None:
    class Given:
        size = 2

    ranks = Given()
    explorer, seen = ScheduleExplorer(ranks), weakref.ref(ranks)
    del ranks
    gc.collect()
    assert seen() is None and "nothing refers to them any more" in explorer.run()
