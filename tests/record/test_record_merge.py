"""What ranks left becomes traces: whose parts belong together, and what is said of those that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from timeline_samples import all_reduce

from lab_utils.host.cpu_times import CpuTimes
from lab_utils.record.files import Left, World, read, troubles, worlds
from lab_utils.record.sentences import missing

FIRST = {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "0"}
AGAIN = {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "1"}


def part(rank: int, ranks: int = 2, at_s: float = 0.0, environ=FIRST, number: int = 0, compiled: bool = False) -> Left:
    ops = [all_reduce(rank, 0, at_s, at_s, at_s + 1, tuple(range(ranks)))]
    return Left.begun(rank, ranks, number, environ).over(ops, [], compiled)


def members(found: list[World]) -> list[list[int]]:
    return [sorted(world.left) for world in found]


def test_the_ranks_of_one_world_are_one_trace_that_begins_at_0() -> None:
    (world,) = worlds([part(1, at_s=8.0), part(0, at_s=7.0)])
    assert [[op.rank for op in ops] for ops in world.trace.ops] == [[0], [1]]
    assert [op.issue_s for op in world.trace] == [0.0, 1.0]
    assert list(missing(world)) == []


def test_their_trace_says_that_the_machine_was_busy() -> None:
    used = CpuTimes(wall_s=1.0, own_s=0.5, all_s=2.0, cores=2)
    sides = [Left.begun(rank, 2, 0, FIRST).over([], [], False, used) for rank in range(2)]
    assert [world.trace.others for world in worlds(sides)] == [(1.0, 2)]
    assert [world.trace.others for world in worlds([sides[0], part(1)])] == [None]  # not known of one rank


@pytest.mark.parametrize(
    "later",
    [
        [part(0, at_s=9.0, environ=AGAIN), part(1, at_s=9.0, environ=AGAIN)],  # torchrun started the program again
        [part(0, at_s=9.0, number=1), part(1, at_s=9.0, number=1)],  # it destroyed its groups and formed new ones
        [part(0, at_s=9.0), part(1, at_s=9.0)],  # other processes, and nothing to tell them apart but their ranks
    ],
)
def test_worlds_after_one_another_stay_apart(later: list[Left]) -> None:
    found = worlds([*later, part(0), part(1)] if later[0].world != part(0).world else [part(0), part(1), *later])
    assert members(found) == [[0, 1], [0, 1]]
    assert [world.left[0].ops[0].issue_s for world in found] == [0.0, 9.0]


def test_a_rank_that_another_attempt_lacks_is_not_borrowed_from_the_next() -> None:
    found = worlds([part(0), part(0, at_s=9.0, environ=AGAIN), part(1, at_s=9.0, environ=AGAIN)])
    assert members(found) == [[0], [0, 1]]


def test_worlds_of_other_sizes_are_others() -> None:
    assert members(worlds([part(0, ranks=1), part(0), part(1)])) == [[0], [0, 1]]


def test_what_is_missing_is_said() -> None:
    (world,) = worlds([part(0, 4), Left.begun(1, 4, 0, FIRST)])
    gone, away = missing(world)
    assert gone.startswith("Rank 1 of 4 (process ")
    assert gone.endswith("before that.")
    before = "Ranks 2, 3 of 4 left nothing: ended before the group was formed"
    assert away.startswith(f"{before}, or ran on another machine")
    assert list(missing(World(4, {0: part(0, 4, environ={**FIRST, "LOCAL_WORLD_SIZE": "4"})}))) == [
        "Ranks 1, 2, 3 of 4 left nothing: ended before the group was formed."
    ]
    assert [len(ops) for ops in world.trace.ops] == [1, 0, 0, 0]
    assert world.trace.timeline().waiting_by_rank_s[0] == 1.0
    with pytest.raises(ValueError, match="needs rank 1, 2, 3 too"):
        _ = world.trace.lowered


def test_ranks_stopped_by_the_counting_are_told_how_to_go_on() -> None:
    (world,) = worlds([part(0, compiled=True), part(1)])
    assert list(missing(world)) == [
        "Rank 0 stopped at code that torch.compile made, whose kernels cannot be counted (flex_attention and "
        "torch.cond compile by themselves): record again with --no-count."
    ]


def test_a_world_in_which_nobody_came_to_the_end_is_empty() -> None:
    (world,) = worlds([Left.begun(0, 1, 0, FIRST)])
    assert world.is_empty


def test_what_a_rank_left_is_read_again_and_its_beginning_replaced(tmp_path: Path) -> None:
    begun = Left.begun(0, 1, 0, FIRST)
    begun.write(tmp_path)
    assert [left.ended for left in read(tmp_path)] == [False]
    ended = begun.over(list(part(0, 1).ops), [], False)
    ended.write(tmp_path)
    assert read(tmp_path) == [ended]
    assert len(list(tmp_path.iterdir())) == 1


def test_each_trouble_is_said_once(tmp_path: Path) -> None:
    for process, trouble in enumerate(["no torch", "no torch", "no numpy"]):
        (tmp_path / f"trouble-{process}").write_text(trouble, encoding="utf-8")
    assert troubles(tmp_path) == ["no numpy", "no torch"]
