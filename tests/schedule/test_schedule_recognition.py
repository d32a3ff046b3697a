"""Recognising an order: every named schedule is, and with any two neighbouring ops exchanged it is another."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.schedule import Draft, Schedule, recognised, schedules
from lab_utils.schedule.ops import Step

MADE = {**schedules.BY_NAME, "three": lambda p, m: schedules.interleaved(p, m, 3)}


def steps(order: Draft) -> list[list[Step]]:
    every = list(zip(order.kind.tolist(), order.stage.tolist(), order.microbatch.tolist(), strict=True))
    return [every[a:b] for a, b in itertools.pairwise(order.first)]


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(("p", "m"), [(4, 8), (2, 5), (6, 13)])
def test_every_named_schedule_is_recognised_by_its_ops_alone(name: str, p: int, m: int) -> None:
    made = MADE[name](p, m)
    again = Schedule.of("mine", made.orders, copies=made.copies)
    known = "interleaved" if name == "three" else name
    assert known in recognised(again)
    assert all(schedules.BY_NAME[other](p, m).orders == made.orders for other in set(recognised(again)) - {known})


@given(st.data(), st.sampled_from(sorted(schedules.BY_NAME)), st.integers(1, 4), st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_another_order_has_another_name_or_none(data: st.DataObject, name: str, p: int, m: int) -> None:
    made = schedules.BY_NAME[name](p + p % 2, m)
    orders = steps(made)
    rank = data.draw(st.integers(0, made.ranks - 1))
    at = data.draw(st.integers(0, len(orders[rank]) - 2))
    orders[rank][at : at + 2] = orders[rank][at : at + 2][::-1]
    other = Draft.of_steps("other", orders, made.stages, m, made.copies)
    assert name not in recognised(other)
    for known in recognised(other):
        assert schedules.BY_NAME[known](made.ranks, m).orders == other.orders


def test_small_sizes_have_several_names() -> None:
    assert recognised(schedules.gpipe(1, 1)) == ("gpipe", "one_f_one_b")
    assert recognised(Schedule.of("mine", ["F0 B0 W0"])) == ("zb_h1", "zb_h2")


def test_nothing_is_left_open() -> None:
    assert recognised(Schedule.of("renumbered", ["F1 F0 BW1 BW0"] * 2)) == ()
    assert recognised(Schedule.of("apart", ["F0 F1 B0 W0 BW1", "F0 F1 BW0 BW1"])) == ()
    assert recognised(Schedule.of("turned", ["1F0 1BW0", "0F0 0BW0"])) == ()
    assert recognised(Schedule.of("three stages", ["0F0 2F0 2BW0 0BW0", "1F0 1BW0"])) == ()
    assert recognised(Schedule.of("copies", ["0F0 0BW0 1F1 1BW1", "1F0 1BW0 0F1 0BW1"], copies=2)) == ()
