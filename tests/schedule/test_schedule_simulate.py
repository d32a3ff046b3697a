"""Schedules placed in time: every op as in plain Python, the textbook's numbers, closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_schedules import by_kind, schedules_of_any_order, slow_times

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.schedule import Costs, Schedule, schedules, simulate

BOTH = [schedules.gpipe, schedules.one_f_one_b]
SIZES = {"stages": st.integers(1, 8), "microbatches": st.integers(1, 16)}
seconds = st.floats(1e-3, 1e3)
maybe_none = st.just(0.0) | seconds


@st.composite
def costs_of(draw: st.DrawFn, stages: int) -> Costs:
    """One number for all stages, or one each; some of them nothing."""
    each = st.lists(maybe_none, min_size=stages, max_size=stages)
    return Costs(*(draw(maybe_none | each) for _ in range(3)), comm=draw(maybe_none))


def agrees(schedule: Schedule, costs: Costs) -> None:
    """Op by op to the last bit, as arrays and as the spans that people read."""
    t = simulate(schedule, costs)
    wanted_s = slow_times(schedule, by_kind(costs, schedule.stages), costs.comm)
    times = t.prediction.times
    assert list(zip(times.start_s.tolist(), times.end_s.tolist(), strict=True)) == wanted_s
    wanted = [(op, *when) for op, when in zip(schedule.ops, wanted_s, strict=True) if when[1] > when[0]]
    assert [(span.op, span.start_s, span.end_s) for span in t.spans] == wanted
    assert all(span.rank == span.op.rank and (span.lane, span.activity) == ("own", "compute") for span in t.spans)
    assert t.makespan_s == max(end_s for _, end_s in wanted_s)


@given(st.data(), schedules_of_any_order())
@settings(deadline=None)
def test_every_op_of_any_schedule(data: st.DataObject, schedule: Schedule) -> None:
    agrees(schedule, data.draw(costs_of(schedule.stages)))


@pytest.mark.parametrize("make", BOTH)
@given(data=st.data(), **SIZES)
def test_every_op(make, data: st.DataObject, stages: int, microbatches: int) -> None:
    agrees(make(stages, microbatches), data.draw(costs_of(stages)))


def test_one_f_one_b_of_the_textbook() -> None:
    t = simulate(schedules.one_f_one_b(stages=4, microbatches=8), Costs(1, 0.5, 0.5))
    assert t.makespan_s == 22
    assert t.bubble_fraction == pytest.approx(3 / 11, rel=1e-15)
    assert t.peak_activations == (4, 3, 2, 1)
    assert t.compute_by_rank_s == (16,) * 4 and t.idle_by_rank_s == (6,) * 4


def test_gpipe_of_the_textbook() -> None:
    t = simulate(schedules.gpipe(stages=4, microbatches=8), Costs(1, 0.5, 0.5))
    assert (t.makespan_s, t.peak_activations) == (22, (8,) * 4)
    assert t.bubble_fraction == pytest.approx(3 / 11, rel=1e-15)


@pytest.mark.parametrize("make", BOTH)
@given(f=seconds, b=seconds, w=seconds, **SIZES)
def test_bubble_of_equal_stages(make, stages: int, microbatches: int, f: float, b: float, w: float) -> None:
    """(p-1)/(m+p-1), also with fewer micro-batches than stages."""
    t = simulate(make(stages, microbatches), Costs(f, b, w))
    turns = microbatches + stages - 1
    assert t.makespan_s == pytest.approx(turns * (f + b + w), rel=1e-12)
    assert t.bubble_fraction == pytest.approx((stages - 1) / turns, abs=1e-12)


@given(data=st.data(), comm=maybe_none, **SIZES)
def test_gpipe_of_unequal_stages(data: st.DataObject, stages: int, microbatches: int, comm: float) -> None:
    """There and back through a row of machines: the slowest sets the pace, the others are passed once."""
    f, b, w = (data.draw(st.lists(seconds, min_size=stages, max_size=stages)) for _ in range(3))
    both = [x + y for x, y in zip(b, w, strict=True)]
    ways = sum(sum(way) + (microbatches - 1) * max(way) for way in (f, both))
    t = simulate(schedules.gpipe(stages, microbatches), Costs(f, b, w, comm))
    assert t.makespan_s == pytest.approx(ways + 2 * (stages - 1) * comm, rel=1e-12)


@given(comm=seconds, rounds=st.integers(1, 5), stages=st.integers(2, 8), f=seconds, b=seconds, w=seconds)
def test_one_f_one_b_pays_for_the_wire_again_and_again(
    comm: float, rounds: int, stages: int, f: float, b: float, w: float
) -> None:
    """Rank 0 has p micro-batches under way: each p of them take one way there and back, whatever computing takes."""
    p, m = stages, rounds * stages
    t = simulate(schedules.one_f_one_b(p, m), Costs(f, b, w, comm))
    hops = 2 * (p - 1) * rounds + 2 * p - 4
    assert t.makespan_s == pytest.approx((m + p - 1) * (f + b + w) + hops * comm, rel=1e-9)


@given(schedules_of_any_order())
def test_the_same_schedule_gives_the_same_bits(schedule: Schedule) -> None:
    first, again = (simulate(schedule, Costs(0.1, 0.2, 0.3, 0.7)).columns for _ in range(2))
    assert first.start_s.tobytes() == again.start_s.tobytes() and first.end_s.tobytes() == again.end_s.tobytes()
