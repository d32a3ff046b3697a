"""A schedule placed op by op in ScheduleExplorer: what comes next, why not others, and the par to beat."""

from __future__ import annotations

import re

import numpy as np
import pytest
import traitlets

from lab_utils.schedule import Costs, search, why_not, why_not_next
from lab_utils.widgets import ScheduleExplorer
from lab_utils.widgets.schedule_explorer.by_hand.hand import Hand
from lab_utils.widgets.schedule_explorer.choice import Setting


@pytest.mark.parametrize("name", ["one_f_one_b", "zb_h2", "zb_v", "interleaved", "found_loop"])
def test_by_hand_takes_an_order_apart_and_puts_it_together(name: str) -> None:
    explorer = ScheduleExplorer(choice=name, p=3, m=4, v=3)
    orders, makespan = explorer.schedule.orders, explorer.timeline.makespan_s
    assert explorer.by_hand() == ""
    assert explorer.schedule.orders == orders and explorer.timeline.makespan_s == makespan
    assert why_not(explorer.schedule) == "" and explorer._drawn["left"] == 0
    taken = [explorer.moves[-1], explorer.moves[-2]]
    explorer.undo(), explorer.undo()
    assert explorer._drawn["left"] >= 2
    assert explorer.place(*taken[1]) == explorer.place(*taken[0]) == "" and explorer.schedule.orders == orders
    explorer.by_hand(before=len(orders[0].split()) // 2)  # of rank 0's ops
    assert 0 < len(explorer.moves) < sum(len(order.split()) for order in orders)


def test_an_illegal_move_is_explained_and_not_made() -> None:
    explorer = ScheduleExplorer(choice="hand", p=2, m=2, limit=1.0)
    assert explorer.place(0, "F0") == ""
    refused = {
        (1, "F1"): "F1 of stage 1 needs F1 of stage 0, which no rank has run yet",
        (0, "F0"): "F0 of stage 0 has been run",
        (0, "F1"): "would make 2 micro-batches whose activations rank 0 holds, and 1 is the limit",
        (0, "1F0"): "rank 0 holds stage 0, and not stage 1",
        (0, "F9"): "there are 2 ranks, 2 stages and 2 micro-batches",
        (2, "F0"): "there is no rank 2",
        (0, "huh"): "is no op",
        (0, "F1 F1"): "place one at a time",
    }
    for move, said in refused.items():
        assert said in explorer.place(*move)
        assert explorer.moves == [[0, "F0"]]
    assert explorer.place(1, "F0") == "" and len(explorer.timeline.spans) == 2
    explorer.undo()
    assert explorer.moves == [[0, "F0"]] and explorer.says == ""
    with pytest.raises(traitlets.TraitError, match="is no move"):
        explorer.moves = [["F0", 0]]
    explorer.place(1, "F0"), explorer.place(1, "BW0")
    explorer.p = 3  # then stage 1 is not the last
    assert explorer.says.startswith("2 of 3 ops stay: BW0 of stage 1 needs B0 or BW0 of stage 2")


@pytest.mark.parametrize("stage_layout", ["line", "v", "loop"])
def test_offers_are_what_why_not_next_says_and_lead_to_the_end(stage_layout: str) -> None:
    hand, draw = Hand(Setting(3, 3, 2, Costs(), None), stage_layout), np.random.default_rng(1)
    while hand.left:
        offers = list(hand.offers())
        for rank, word, why in offers:
            kind, stage, number = re.fullmatch(r"(\d*)([FBW]+)(\d+)", word).group(2, 1, 3)
            step = (("F", "B", "W", "BW").index(kind), int(stage or rank), int(number))
            assert why == why_not_next(hand.draft, rank, step)
        legal = [(rank, word) for rank, word, why in offers if not why]
        assert hand.follow([*hand.moves, legal[draw.integers(len(legal))]]) == ""
    assert why_not(hand.draft) == "" and not list(hand.offers())


def test_par_is_the_best_named_one_that_fits_and_the_bound_stands_beside() -> None:
    explorer = ScheduleExplorer(choice="hand", p=3, m=4, limit=3.0)
    best = search(3, 4, Costs(), 3.0)
    assert min(best.named, key=best.named.get) == "zb_h1"
    par = f"Par is {best.named['zb_h1']:g} (ZB-H1); no order is shorter than {best.bound.length:g}."
    assert explorer._drawn["remark"] == f"36 of F, B and W are left to place. {par}"
    explorer.choice = "one_f_one_b"
    explorer.by_hand()
    over = explorer.timeline.makespan_s - best.named["zb_h1"]
    assert explorer._drawn["remark"] == f"All ops are placed: 18. You have built 1F1B. {par} You are {over:g} over par."
    explorer.choice = "zb_h1"
    explorer.by_hand()
    assert explorer._drawn["remark"].endswith("You are on par.")
    explorer.limit = 0.5
    assert "No par: rank 0 may hold 0.5" in explorer._drawn["remark"] and explorer.moves == []


def test_what_a_browser_asks_for_in_turn_is_answered_also_when_it_is_refused() -> None:
    explorer = ScheduleExplorer(choice="hand", p=2, m=2)
    for number, word in enumerate(("F0", "F0", "F1"), start=1):
        explorer.set_state({"moves": [*explorer.moves, [0, word]], "_asked": number})
        assert explorer._answered == number
    with pytest.raises(traitlets.TraitError):
        explorer.set_state({"moves": [["no rank", "F0"]], "_asked": 4})
    assert explorer._answered == 4 and explorer.moves == [[0, "F0"], [0, "F1"]]
