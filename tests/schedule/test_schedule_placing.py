"""Schedules placed by hand, op by op: what may come next, the sentence for what may not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.schedule import Draft, Schedule, schedules, why_not, why_not_next
from lab_utils.schedule.ops import BW, B, F, Step, W, read


def after(orders: list[str], stages: int = 2, microbatches: int = 2) -> Draft:
    return Draft.of("so far", orders, stages, microbatches)


@pytest.mark.parametrize(
    ("orders", "rank", "word", "said"),
    [
        (["", ""], 0, "F0", ""),
        (["F0", ""], 0, "F0", "F0 of stage 0 has been run"),
        (["F0", "F0 B0"], 1, "BW0", "B0 of stage 1 has been run, so BW0 of stage 1 has"),
        (["F0", "F0 BW0"], 1, "W0", "BW0 of stage 1 has been run, so W0 of stage 1 has"),
        (["", ""], 1, "F0", "F0 of stage 1 needs F0 of stage 0, which no rank has run yet"),
        (["F0", "F0"], 0, "B0", "B0 of stage 0 needs B0 or BW0 of stage 1, which no rank has run yet"),
        (["", ""], 1, "BW1", "BW1 of stage 1 needs F1 of stage 1, which no rank has run yet"),
        (["F0", "F0 B0"], 0, "W0", "W0 of stage 0 needs B0 of stage 0, which no rank has run yet"),
        (["F0", "F0"], 1, "0F1", "stage 0 is on rank 0, and not on rank 1"),
        (["F0", ""], 1, "0B0", "micro-batch 0 of stage 0 is on rank 0: its activations are on one rank"),
        (["F0", ""], 0, "F1", "F1 of stage 0 would make 2 micro-batches whose activations rank 0 holds, and 1 is"),
        (["", ""], 0, "F2", "F2 of stage 0 on rank 0: there are 2 ranks, 2 stages and 2 micro-batches, counted from 0"),
    ],
)  # fmt: skip
def test_what_may_come_next(orders: list[str], rank: int, word: str, said: str) -> None:
    (step,) = read([""] * rank + [word])[rank]
    assert why_not_next(after(orders), rank, step, limit=1).startswith(said)
    assert bool(why_not_next(after(orders), rank, step, limit=1)) == bool(said)


@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.booleans())
@settings(max_examples=15, deadline=None)
def test_whatever_moves_are_made_it_runs(data: st.DataObject, ranks: int, microbatches: int, split: bool) -> None:
    """A rank takes any op that it may, until none is left: then the order is a schedule, within the limit."""
    orders: list[list[Step]] = [[] for _ in range(ranks)]
    kinds = (F, B, W) if split else (F, BW)
    left = [(r, (kind, r, i)) for r in range(ranks) for i in range(microbatches) for kind in kinds]
    while left:
        placed = Draft.of_steps("so far", orders, ranks, microbatches)
        able = [move for move in left if not why_not_next(placed, *move, limit=2)]
        rank, step = data.draw(st.sampled_from(able))
        orders[rank].append(step)
        left.remove((rank, step))
    assert why_not(Schedule.of_steps("placed", orders), limit=2) == ""


@pytest.mark.parametrize("name", ["zb_h1", "zb_v", "dualpipe"])
def test_the_papers_schedules_can_be_placed(name: str) -> None:
    """Rank by rank in turns: as far as each one comes."""
    schedule = schedules.BY_NAME[name](4, 4)
    left = read(schedule.orders)
    orders: list[list[Step]] = [[] for _ in left]
    while any(left):
        before = sum(map(len, left))
        for rank, queue in enumerate(left):
            placed = Draft.of_steps("so far", orders, schedule.stages, 4, schedule.copies)
            while queue and not why_not_next(placed, rank, queue[0], max(schedule.peak_activations)):
                orders[rank].append(queue.pop(0))
                placed = Draft.of_steps("so far", orders, schedule.stages, 4, schedule.copies)
        assert sum(map(len, left)) < before
