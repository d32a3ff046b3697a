"""ScheduleExplorer with an order that cannot run: what ran before the ranks were stuck, and where each stands."""

from __future__ import annotations

import random

import pytest

from lab_utils.schedule import Draft, why_not_next
from lab_utils.schedule.ops import Step
from lab_utils.schedule.schedules import BY_NAME
from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer.stuck import run_as_far_as_possible

CIRCLE = "F0 F1 BW0 BW1\nF0 BW1 F1 BW0"


def stuck(text: str = CIRCLE) -> ScheduleExplorer:
    explorer = ScheduleExplorer(choice="gpipe", p=4, m=8)
    explorer.choice, explorer.text = "own", text
    return explorer


def test_what_ran_is_drawn_and_not_the_schedule_before() -> None:
    explorer = stuck()
    drawn = explorer._drawn
    assert "rank 1 runs BW1 of stage 1 before F1 of stage 1, which it needs" in explorer.says
    assert (explorer.p, explorer.m, drawn["title"]) == (2, 2, "your own order: 2 ranks, 2 micro-batches")
    assert explorer.shown.draft.orders == ("F0 F1", "F0") and explorer.schedule.orders == tuple(CIRCLE.splitlines())
    assert drawn["stands"] == [[0, 2.0, "BW0"], [1, 2.0, "BW1"]]
    assert [fact[1] for fact in drawn["facts"]] == ["stuck at 2", "none", "none", "2 at most"]
    assert drawn["remark"] == "Stuck: 3 of 8 ops ran." and drawn["extent"] == 4.0
    assert "rank 0 stands at BW0 of stage 0, which needs B0 or BW0 of stage 1, which no rank has run yet" in repr(
        explorer
    )
    svg = explorer.to_svg()
    assert svg.count("✕ BW") == 2 and ">F1</text>" in svg and ">BW0</text>" not in svg


@pytest.mark.parametrize(
    ("text", "stands", "remark"),
    [
        ("F0 BW0 F1 BW1\nF1 F0 BW0 BW1", [[0, 1.0, "BW0"], [1, 0.0, "F1"]], "Stuck: 1 of 8 ops ran."),
        ("F0 F1 BW0 BW1\nF0 BW0 F1", [[0, 6.0, "BW1"]], "Stuck: 6 of 7 ops ran."),
        ("F0 B0\nF0 BW0", [], "All 4 ops ran, and others are missing."),
        ("F0 F0 BW0\nF0 BW0", [[0, 1.0, "F0"]], "Stuck: 3 of 5 ops ran."),
        ("0F0 BW0\n0F0 1F0 1BW0", [[0, 1.0, "BW0"], [1, 0.0, "F0"]], "Stuck: 1 of 5 ops ran."),
    ],
    ids=["circle", "missing", "not whole", "twice", "elsewhere"],
)
def test_each_rank_stands_where_it_cannot_go_on(text: str, stands: list, remark: str) -> None:
    drawn = stuck(text)._drawn
    assert (sorted(drawn["stands"]), drawn["remark"]) == (sorted(stands), remark)
    for rank, since, _ in drawn["stands"]:
        ends = [gap for gap in drawn["gaps"] if gap[:3] == [rank, since, drawn["extent"]]]
        assert len(ends) == 1 and ends[0][3].startswith(f"rank {rank} stands at ")


@pytest.mark.parametrize("name", ["zb_h1", "v_half", "dualpipe"])
def test_no_rank_goes_further_or_less_far_than_it_can(name: str) -> None:
    """Shuffled orders, and `why_not_next` on what has run, op by op, as the judge."""
    order, shuffle = BY_NAME[name](4, 6), random.Random(0).shuffle
    for _ in range(3):
        steps = [list(mine) for mine in order.steps]
        for mine in steps:
            first = mine[:6]
            shuffle(first)
            mine[:6] = first
        at, ran = run_as_far_as_possible(Draft.of_steps(name, steps, order.stages, 6, order.copies))
        assert ran.orders == judged(order, steps).orders
        for rank, n in at.items():
            assert why_not_next(ran, rank, steps[rank][n])
        assert all(len(ran.steps[rank]) == len(mine) for rank, mine in enumerate(steps) if rank not in at)


def judged(order: Draft, steps: list[list[Step]]) -> Draft:
    ran: list[list[Step]] = [[] for _ in steps]

    def draft() -> Draft:
        return Draft.of_steps(order.name, ran, order.stages, order.microbatches, order.copies)

    count = -1
    while count != (count := sum(map(len, ran))):
        for rank, mine in enumerate(steps):
            while len(ran[rank]) < len(mine) and not why_not_next(draft(), rank, mine[len(ran[rank])]):
                ran[rank].append(mine[len(ran[rank])])
    return draft()


def test_it_runs_again_once_it_is_mended_and_goes_on_by_hand_from_what_ran() -> None:
    explorer = stuck()
    explorer.text = "F0 F1 BW0 BW1\nF0 F1 BW1 BW0"
    assert (explorer.says, "stands" in explorer._drawn, explorer.schedule.orders[1]) == ("", False, "F0 F1 BW1 BW0")
    explorer.text = CIRCLE
    assert explorer.by_hand() == "" and sorted(explorer.moves) == [[0, "F0"], [0, "F1"], [1, "F0"]]
    assert explorer.schedule.orders == ("F0 F1", "F0")


def test_dualpipe_that_is_stuck_is_still_one_with_two_copies() -> None:
    explorer = ScheduleExplorer(choice="dualpipe", p=4, m=6)
    explorer.choice = "own"
    first, *others = explorer.text.splitlines()
    words = first.split()
    explorer.text = "\n".join([" ".join([words[-1], *words[:-1]]), *others])
    assert explorer.says and explorer.schedule.copies == 2 and len(explorer.shown.draft) < len(explorer.schedule)
