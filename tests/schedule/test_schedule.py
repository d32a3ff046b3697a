"""Orders of schedules: those of the papers, as validity wants them, and what is said of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lab_utils.render  # noqa: F401 - lets timelines draw themselves
from lab_utils.schedule import Costs, Schedule, schedules, simulate
from lab_utils.schedule.schedule import KINDS

ALL = list(schedules.BY_NAME.values())
SIZES = {"stages": st.integers(1, 9), "microbatches": st.integers(1, 20)}


def by_hand(stages: int, microbatches: int, rank: int) -> str:
    """1F1B as the paper tells it, with a queue: forwards to warm up, then a backward after each forward."""
    forwards, backwards, order = list(range(microbatches)), list(range(microbatches)), []
    for _ in range(min(microbatches, stages - 1 - rank)):
        order.append(f"F{forwards.pop(0)}")
    while forwards:
        order += [f"F{forwards.pop(0)}", f"BW{backwards.pop(0)}"]
    return " ".join([*order, *(f"BW{number}" for number in backwards)])


def test_gpipe_runs_all_forwards_first() -> None:
    assert schedules.gpipe(2, 3).orders == ("F0 F1 F2 BW0 BW1 BW2",) * 2


def test_one_f_one_b() -> None:
    assert schedules.one_f_one_b(3, 4).orders == (
        "F0 F1 F2 BW0 F3 BW1 BW2 BW3",
        "F0 F1 BW0 F2 BW1 F3 BW2 BW3",
        "F0 BW0 F1 BW1 F2 BW2 F3 BW3",
    )


@given(**SIZES)
def test_one_f_one_b_of_any_size(stages: int, microbatches: int) -> None:
    found = schedules.one_f_one_b(stages, microbatches).orders
    assert found == tuple(by_hand(stages, microbatches, rank) for rank in range(stages))


@given(**SIZES)
def test_peaks(stages: int, microbatches: int) -> None:
    assert schedules.gpipe(stages, microbatches).peak_activations == (microbatches,) * stages
    peaks = schedules.one_f_one_b(stages, microbatches).peak_activations
    assert peaks == tuple(min(microbatches, stages - rank) for rank in range(stages))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(("stages", "microbatches"), [(0, 1), (1, 0), (-1, 3)])
def test_sizes_are_at_least_one(make: Callable, stages: int, microbatches: int) -> None:
    with pytest.raises(
        ValueError, match=rf"s={stages}, (virtual_stages=2, )?microbatches={microbatches}: at least one of each"
    ):
        make(stages, microbatches)


def moved(schedule: Schedule, rank: int, order: list[int]) -> Schedule:
    """The same with one rank's ops in another order."""
    first, last = schedule.first[rank], schedule.first[rank + 1]
    positions = np.arange(len(schedule))
    positions[first:last] = first + np.array(order)
    return replace(schedule, kind=schedule.kind[positions], microbatch=schedule.microbatch[positions])


def test_a_backward_before_its_forward() -> None:
    good = schedules.gpipe(2, 1)
    with pytest.raises(ValueError, match="GPipe: rank 1 runs BW0 of stage 1 before F0 of stage 1"):
        moved(good, 1, [1, 0])


def test_an_op_that_comes_twice() -> None:
    good = schedules.gpipe(2, 2)
    microbatch = good.microbatch.copy()
    microbatch[1] = 0
    with pytest.raises(ValueError, match="GPipe: stage 0 runs F of micro-batch 0 2 times, and once is needed"):
        replace(good, microbatch=microbatch)


def test_a_weight_gradient_that_is_missing() -> None:
    good = schedules.gpipe(1, 1)
    kind = np.array([KINDS.index("F"), KINDS.index("B")], np.uint8)
    with pytest.raises(ValueError, match="stage 0 does not run W or BW of micro-batch 0"):
        replace(good, kind=kind)


def test_a_stage_on_two_ranks() -> None:
    good = schedules.gpipe(2, 1)
    with pytest.raises(ValueError, match="stage 0 runs on ranks 0 and 1: a stage's layers are on one rank"):
        replace(good, stage=np.array([0, 1, 1, 0], np.int32))


def test_a_stage_that_is_not_there() -> None:
    good = schedules.gpipe(2, 1)
    with pytest.raises(ValueError, match="stage 2 is not one of 2"):
        replace(good, stage=good.stage + 1)


def test_ranks_that_wait_in_a_circle() -> None:
    """Rank 0 wants the backward of micro-batch 0 before it sends 1 on; rank 1 wants 1 first."""
    said = (
        "GPipe: ranks wait for each other in a circle: rank 0 stands at BW0 of stage 0 until rank 1 has run BW0 of "
        "stage 1; rank 1 stands at F1 of stage 1 until rank 0 has run F1 of stage 0"
    )
    late = moved(schedules.gpipe(2, 2), 1, [0, 1, 3, 2])
    with pytest.raises(ValueError, match=said):
        moved(late, 0, [0, 2, 1, 3])


def test_costs_of_each_stage() -> None:
    timeline = simulate(schedules.gpipe(2, 1), Costs(forward=[1, 10], backward_input=[2, 3], backward_weight=0))
    assert timeline.makespan_s == 16 and timeline.compute_by_rank_s == (3, 13)
    with pytest.raises(ValueError, match="forward has 3 costs, and there are 2 stages: one for all, or one each"):
        simulate(schedules.gpipe(2, 1), Costs(forward=[1, 2, 3]))


def test_costs_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cost 0 is -1\.0: seconds must be a number, 0 or more"):
        simulate(schedules.gpipe(2, 1), Costs(forward=-1))


def test_the_picture_names_what_it_paints() -> None:
    picture = simulate(schedules.one_f_one_b(2, 3), Costs()).to_svg()
    assert "F: forward" in picture and "BW: both backwards" in picture and "a partner has not entered" not in picture
    assert picture.count('data-activity="BW"') == picture.count('data-activity="F"') == 6


def test_a_recorded_timeline_counts_no_micro_batches() -> None:
    from timeline_samples import ddp

    with pytest.raises(ValueError, match="counts micro-batches of a schedule, and this timeline is of a trace"):
        _ = ddp().timeline().peak_activations


def test_the_critical_path_of_one_f_one_b() -> None:
    timeline = simulate(schedules.one_f_one_b(2, 2), Costs())
    path = [(op.rank, op.name) for op in timeline.critical_path]
    assert path == [(0, "F0"), (1, "F0"), (1, "BW0"), (1, "F1"), (1, "BW1"), (0, "BW1")]
