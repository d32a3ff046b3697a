"""What the papers say of their schedules: bubble, activations, and that they work for any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_pairs import idle_side_by_side

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.schedule import Costs, Schedule, schedules, simulate, why_not

UNITS = Costs()  # F = B = W = 1
seconds = st.floats(1e-3, 1e3)
SIZES = [(2, 4), (3, 7), (4, 8), (5, 9), (6, 24), (7, 50), (8, 15), (9, 40)]


def of_full_stages(schedule: Schedule, costs: Costs = UNITS):
    """Its timeline if a full stage has these costs."""
    return simulate(schedule, costs.divided(schedule.virtual_stages))


@pytest.mark.parametrize("name", schedules.BY_NAME)
@given(ranks=st.integers(1, 9), microbatches=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_any_size_runs(name: str, ranks: int, microbatches: int) -> None:
    """Its constructor has run it; no op is left out, and none of the ranks holds more than it says."""
    ranks += name == "dualpipe" and ranks % 2
    schedule = schedules.BY_NAME[name](ranks, microbatches)
    assert (schedule.ranks, schedule.microbatches) == (ranks, microbatches)
    assert (schedule.kind == 0).sum() == schedule.stages * microbatches
    assert max(schedule.peak_activations) <= _most(name, ranks, microbatches) + 1e-9


def _most(name: str, p: int, m: int) -> float:
    """Micro-batches of a full stage that a rank holds at most."""
    group = -(-m // max(1, m // p))  # interleaved: micro-batches of a group
    return {
        "gpipe": m, "looped_bfs": m, "interleaved": (2 * (p - 1) + group + 1) / 2, "one_f_one_b": p, "zb_h1": p,
        "zb_h2": 2 * p - 1, "zb_v": p, "v_half": (p + 2) // 2, "v_min": (p + 4) // 3, "dualpipe": p + 1,
        "dualpipe_v": p + 0.5,
    }[name]  # fmt: skip


@pytest.mark.parametrize("make", [schedules.interleaved, schedules.looped_bfs])
@given(p=st.integers(1, 8), more=st.integers(0, 20), v=st.integers(1, 4), f=seconds, b=seconds, w=seconds)
@settings(deadline=None)
def test_looped_bubble(make: Callable, p: int, more: int, v: int, f: float, b: float, w: float) -> None:
    """(p-1)/(vm+p-1) for any m of at least p."""
    m = p + more
    timeline = simulate(make(p, m, v), Costs(f, b, w))
    assert timeline.bubble_fraction == pytest.approx((p - 1) / (v * m + p - 1), abs=1e-9)


def test_looped_activations() -> None:
    """1F1B's, times 1 + (p-1)/(pv), where p divides m."""
    found = [schedules.interleaved(p, 2 * p, v).peak_activations[0] for p, v in [(4, 2), (8, 2), (4, 3)]]
    assert found == pytest.approx([5.5, 11.5, 5.0])
    assert schedules.looped_bfs(4, 9, 2).peak_activations == (9,) * 4


@pytest.mark.parametrize(("p", "m"), SIZES)
def test_zb_h1_has_a_third_of_the_bubble(p: int, m: int) -> None:
    timeline = simulate(schedules.zb_h1(p, m), UNITS)
    plain = simulate(schedules.one_f_one_b(p, m), UNITS)
    assert timeline.makespan_s - 3 * m == p - 1 and plain.makespan_s - 3 * m == 3 * (p - 1)
    assert timeline.idle_by_rank_s == (p - 1,) * p and timeline.peak_activations == (p,) * p


@pytest.mark.parametrize(("p", "m"), [(p, max(m, 2 * p - 1)) for p, m in SIZES])
@pytest.mark.parametrize("name", ["zb_h2", "zb_v"])
def test_no_bubble_rate(name: str, p: int, m: int) -> None:
    """Ranks start one after the other and end so: idle before and after is in the bubble fraction alone."""
    timeline = of_full_stages(schedules.BY_NAME[name](p, m))
    assert timeline.bubble_rate == 0
    ramp = (p - 1) / timeline.prediction.schedule.virtual_stages
    assert timeline.bubble_fraction == pytest.approx(ramp / (3 * m + ramp))
    assert timeline.peak_activations == ((2 * p - 1,) if name == "zb_h2" else (p,)) * p


@pytest.mark.parametrize(("p", "m"), SIZES)
def test_v_half_and_v_min(p: int, m: int) -> None:
    """Half of 1F1B's idle time, 3 (p - 1), or less, whatever m; two thirds, and 1/2 more where 3 divides p."""
    idle = {name: of_full_stages(schedules.BY_NAME[name](p, m)).idle_by_rank_s for name in ("v_half", "v_min")}
    assert max(idle["v_half"]) <= 3 * (p - 1) / 2
    assert max(idle["v_min"]) == pytest.approx((4 * p - (5 if p % 3 else 3)) / 2)
    assert schedules.v_half(p, m).peak_activations == ((p + 2) // 2,) * p
    assert max(schedules.v_min(p, m).peak_activations) == (p + 4) // 3


@pytest.mark.parametrize("costs", [UNITS, Costs(1.0, 1.3, 0.6), Costs(3.0, 3.5, 2.0)])
@pytest.mark.parametrize(("p", "m"), [(4, 8), (6, 12), (8, 20), (8, 32)])
def test_dualpipe(p: int, m: int, costs: Costs) -> None:
    """Its README's formula (F no longer than B) where a forward and a backward side by side end together, else less."""
    f, b, w = costs.forward, costs.backward_input, costs.backward_weight
    side_by_side, both = f + b + w, b + w
    for schedule, turns in ((schedules.dualpipe(p, m), p // 2 - 1), (schedules.dualpipe_v(p, m), p - 1)):
        wanted = turns * (side_by_side + both - 3 * w)
        assert idle_side_by_side(schedule, costs) == pytest.approx((wanted,) * p)
        apart = simulate(schedule, costs).idle_by_rank_s
        assert max(apart) < wanted and (costs != UNITS or apart == (turns,) * p)


def test_dualpipe_has_each_stage_twice() -> None:
    schedule = schedules.dualpipe(4, 10)
    assert schedule.copies == 2 and schedule.ranks_of_stage == ((0, 3), (1, 2), (1, 2), (0, 3))
    assert schedule.stages_of_rank == ((0, 3), (1, 2), (1, 2), (0, 3))
    assert schedule.rank_of[0].tolist() == [0] * 5 + [3] * 5 and schedule.rank_of[3].tolist() == [3] * 5 + [0] * 5
    assert schedules.dualpipe(4, 5).rank_of[0].tolist() == [0, 0, 0, 3, 3]
    with pytest.raises(ValueError, match="ranks=3: DualPipe pairs rank r with rank p - 1 - r, so it takes an even"):
        schedules.dualpipe(3, 6)


def test_bubble_rate_of_stages_that_differ() -> None:
    """The busiest rank's work, of the longest span: 0 when that rank never waits, whatever the others do."""
    costs = Costs([1, 5], [1, 5], [0, 0])
    timeline = simulate(schedules.gpipe(2, 4), costs)
    assert timeline.makespan_s == 42 and timeline.bubble_rate == pytest.approx(1 - 40 / 42)
    assert (
        simulate(schedules.gpipe(1, 4), UNITS).bubble_rate
        == simulate(schedules.gpipe(1, 1), Costs(0, 0, 0)).bubble_rate
    )
    assert simulate(schedules.zb_h2(2, 3), Costs([1, 2], [1, 2], [1, 2])).bubble_rate == 0


def test_bubble_rate_is_of_schedules() -> None:
    from timeline_samples import ddp

    with pytest.raises(ValueError, match="bubble_rate is of a schedule's timeline, and this one is of a trace"):
        _ = ddp().timeline().bubble_rate


def test_costs_divided() -> None:
    cut = Costs(2, [4, 6], 1, 0.5, [8, 10]).divided(2)
    assert cut == Costs(1, [2, 3], 0.5, 0.5, [4, 5])


def test_memory_over_time_counts_virtual_stages_in_parts() -> None:
    timeline = of_full_stages(schedules.zb_v(4, 12))
    assert [memory.peak for memory in timeline.memory] == [4, 4, 4, 4]
    assert timeline.prediction.held_by_op[0] == 0.5
    of_bytes = simulate(schedules.zb_v(4, 12), Costs(activation_bytes=10))
    assert max(memory.peak for memory in of_bytes.memory) == 80


def test_sizes_of_a_day_are_quick_to_make() -> None:
    """Nothing grows faster than the ops: 32 ranks, 256 micro-batches, up to 49,152 ops."""
    for make in schedules.BY_NAME.values():
        schedule = make(32, 256)
        assert len(np.unique(schedule.rank)) == 32 and why_not(schedule) == ""
