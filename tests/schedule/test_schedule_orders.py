"""Orders that a reader writes: read, judged in one sentence, and run; none hangs, and no verdict is wrong."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_orders_drawn import Orders, drawn
from slow_schedules import KINDS, runs_to_the_end, schedules_of_any_order

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.schedule import Costs, Draft, Schedule, schedules, simulate, why_not

GOOD = ["F0 F1 BW0 BW1", "F0 B0 W0 F1 B1 W1"]
# How a refusal begins, or what is in it, and which kind it is.
REASONS = {
    "and once is needed": "count",
    "circle": "circle",
    "before": "before",
    "on ranks": "ranks",
    "on rank ": "ranks",
    "nothing": "empty",
}


def test_an_order_of_ones_own() -> None:
    mine = Schedule.of("mine", GOOD)
    assert (mine.name, mine.ranks, mine.stages, mine.microbatches) == ("mine", 2, 2, 2)
    assert mine.orders == tuple(GOOD) and why_not(GOOD) == "" and why_not("\n".join(GOOD)) == ""
    assert simulate(mine, Costs()).makespan_s == 8
    assert Schedule.of("v", ["0F0, 3F0, 3BW0, 0BW0", ["1F0", "2F0", "2BW0", "1BW0"]]).stages == 4


@pytest.mark.parametrize("name", schedules.BY_NAME)
def test_words_there_and_back(name: str) -> None:
    given = schedules.BY_NAME[name](4, 6)
    again = Schedule.of(name, given.orders, copies=given.copies)
    assert again.orders == given.orders and again.stages == given.stages
    for column in ("first", "kind", "stage", "microbatch"):
        assert (getattr(again, column) == getattr(given, column)).all()


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        (["F0 X0"], "rank 0, op 2: 'X0' is no op: write F0, B0, W0 or BW0, or 2F0 with a stage"),
        (["F0 I0 W0"], "rank 0, op 2: 'I0' is no op: write F0, B0, W0 or BW0, or 2F0 with a stage (I is torch's word"),
        (["F99999999999 B0"], "rank 0, op 1: 'F99999999999' has a number of 2147483647 or more"),
        (["F1000000000 BW0"], "1000000001 micro-batches on 1 stages take at least 2000000002 ops, and there are 2"),
        ([], "0 ranks, 0 stages and 0 micro-batches: at least one of each is needed"),
        (["F0 BW0", ""], "rank 1 runs nothing: give it ops, or leave it out"),
        (["F0 B0"], "stage 0 does not run W or BW of micro-batch 0, and once is needed: B is the gradient"),
        (["F0 BW0 W0"], "stage 0 runs W or BW of micro-batch 0 2 times, and once is needed"),
        (["BW0", "F0 BW0"], "stage 0 does not run F of micro-batch 0, and once is needed: F0 of stage 1 on rank 1"),
        (["F0", "F0 BW0"], "stage 0 does not run B or BW of micro-batch 0, and once is needed"),
        (["F0 BW0", "F0"], "stage 1 does not run B or BW of micro-batch 0, and once is needed: BW0 of stage 0"),
        (["F0 BW0 1BW0", "F0"], "stage 1 runs on ranks 0 and 1: a stage's layers are on one rank"),
        (["BW0 F0", "F0 BW0"], "rank 0 runs BW0 of stage 0 before F0 of stage 0, which it needs"),
        (["F0 W0 B0"], "rank 0 runs W0 of stage 0 before B0 of stage 0, which it needs"),
        (["1F0 0F0 1BW0 0BW0"], "rank 0 runs F0 of stage 1 before F0 of stage 0, which it needs"),
    ],
)  # fmt: skip
def test_what_is_wrong(orders: list[str], said: str) -> None:
    assert why_not(orders).startswith(said)
    with pytest.raises(ValueError) as refusal:
        Schedule.of("mine", orders)
    assert said in str(refusal.value)


def test_a_circle_names_those_in_it_alone() -> None:
    """Rank 0 is stuck too, and waits for rank 1, but none of them for it."""
    stuck = ["F0 F1 BW0 BW1", "F0 BW0 F1 BW1", "F1 BW1 F0 BW0"]
    assert why_not(stuck) == (
        "ranks wait for each other in a circle: rank 1 stands at BW0 of stage 1 until rank 2 has run BW0 of stage 2; "
        "rank 2 stands at F1 of stage 2 until rank 1 has run F1 of stage 1"
    )


def test_a_limit_of_activations() -> None:
    assert why_not(GOOD, limit=2) == why_not(GOOD, limit=[2, 1]) == ""
    assert why_not(GOOD, limit=1) == (
        "rank 0 holds the activations of 2 micro-batches at F1 of stage 0 (op 2 of 4), and 1 is the limit"
    )
    zb_v = schedules.zb_v(4, 12)
    assert why_not(zb_v, limit=4) == "" and "holds the activations of 4 micro-batches" in why_not(zb_v, limit=3.5)
    with pytest.raises(ValueError, match="3 limits of activations, and there are 2 ranks: one for all, or one each"):
        why_not(GOOD, limit=[1, 2, 3])


def test_copies_of_a_stage() -> None:
    """A stage on two ranks needs copies=2, and even then a micro-batch stays with one of them."""
    orders = schedules.dualpipe(2, 2).orders
    assert why_not(orders, copies=2) == ""
    assert why_not(orders) == "stage 0 runs on ranks 0 and 1: a stage's layers are on one rank"
    three = ["0F0 0BW0", "0F1 0BW1", "0F2 0BW2"]
    assert why_not(three, copies=2) == "stage 0 runs on ranks 0, 1 and 2: a stage has 2 copies at most"
    assert "another op of that micro-batch and stage on rank" in why_not(["0F0 0BW1", "0F1 0BW0"], copies=2)


def judged(orders: Orders, *sizes: int) -> str:
    """The verdict on orders, after it has been compared with plain Python's, and a legal order has been run."""
    steps = [[(KINDS.index(kind), stage, microbatch) for kind, stage, microbatch in order] for order in orders]
    try:
        schedule, said = Schedule.of_steps("drawn", steps, *sizes), ""
    except ValueError as refusal:
        schedule, said = None, str(refusal).removeprefix("drawn: ")
    assert (said == "") == runs_to_the_end(orders, *sizes), (said, orders)
    if schedule is not None:
        placed = simulate(schedule, Costs(1, 1, 1, 0.5)).prediction.times
        assert np.isfinite(placed.end_s).all() and placed.makespan_s > 0
    return said


def test_ten_thousand_orders() -> None:
    """Each is run to the end or refused with a reason, and each kind of reason comes up many times."""
    found = Counter()
    for orders, *sizes in drawn(10_000, seed=3):
        said = judged(orders, *sizes)
        found[next((reason for part, reason in REASONS.items() if part in said), said)] += 1
    assert sum(found.values()) == 10_000 and set(found) == {*REASONS.values(), ""}
    assert found[""] > 2000 and min(found[reason] for reason in ("count", "circle", "before", "ranks")) > 150


@given(st.data(), schedules_of_any_order())
@settings(max_examples=100, deadline=None)
def test_ranks_that_run_what_they_have_in_any_order(data: st.DataObject, schedule: Schedule) -> None:
    """Right ops on the right ranks, in an order drawn freely for each."""
    columns = zip(schedule.kind.tolist(), schedule.stage.tolist(), schedule.microbatch.tolist(), strict=True)
    steps = [(KINDS[kind], stage, microbatch) for kind, stage, microbatch in columns]
    orders = [
        data.draw(st.permutations(steps[a:b])) for a, b in zip(schedule.first[:-1], schedule.first[1:], strict=True)
    ]
    judged(orders, schedule.stages, schedule.microbatches, schedule.copies)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"copies": 0}, "0 copies of each stage: at least one is needed"),
        ({"microbatches": 0}, "2 ranks, 2 stages and 0 micro-batches: at least one of each is needed"),
        ({"stages": 1}, "stage 1 is not one of 1, which are counted from 0"),
        ({"microbatches": 3}, "stage 0 does not run F of micro-batch 2, and once is needed"),
    ],
)
def test_sizes_that_the_orders_do_not_have(given: dict, said: str) -> None:
    assert why_not(GOOD, **given).startswith(said)


def test_a_draft_that_cannot_run_is_not_placed() -> None:
    with pytest.raises(ValueError, match=r"mine: ranks wait for each other in a circle: rank 0 stands at BW0"):
        simulate(Draft.of("mine", ["F0 BW0 F1 BW1", "F1 F0 BW0 BW1"]), Costs())
