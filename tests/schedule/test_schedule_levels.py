"""Levels of placing by hand: each par is reached by its solution, is beaten by no order, and is not reached by less."""

from __future__ import annotations

import itertools

import pytest

from lab_utils.schedule import LEVELS, Draft, Level, Schedule, recognised, schedules, search, why_not
from lab_utils.schedule.levels import after, joined
from lab_utils.schedule.ops import BW, B, W

EVERY = pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
# What a schedule takes with F = B = W = 1 on p ranks: m (F + B + W), and what it waits for.
BY_THE_PAPERS = {
    "gpipe": 4 * 3 + 2 * 3, "one_f_one_b": 5 * 3 + 2 * 3, "interleaved": 4 * 3 + 3 / 2, "two_parts": 3 * 3 + 1,
    "zb_h1": 4 * 3 + 2, "v": 3 * 3 + 1 / 2,
}  # fmt: skip


@EVERY
def test_the_solution_reaches_par_and_no_order_is_shorter(level: Level) -> None:
    solution = level.solution
    assert level.is_reached(solution) and why_not(solution, limit=level.limit) == ""
    assert level.makespan(solution) == level.par == pytest.approx(level.bound.length, rel=1e-6)
    assert level.is_proven
    assert recognised(solution) == ((level.solved_by,) if level.solved_by else ())


@EVERY
def test_the_search_does_not_beat_par(level: Level) -> None:
    assert level.found.length >= level.par - 1e-9
    costs = level.costs.divided(level.virtual_stages)
    layout = {"stage_layout": level.stage_layout, "virtual_stages": level.virtual_stages}
    apart = search(level.ranks, level.microbatches, costs, level.limit, **layout).length
    assert apart < level.par if level.whole else apart == pytest.approx(level.par)


def test_pars_are_those_of_the_papers() -> None:
    assert {name: LEVELS[name].par for name in BY_THE_PAPERS} == BY_THE_PAPERS
    assert LEVELS["one_f_one_b"].before == LEVELS["one_f_one_b"].par  # as its goal says
    assert LEVELS["gpipe"].before == 4 * 3 * 3  # one micro-batch at a time
    for name in ("memory", "interleaved", "two_parts", "zb_h1", "v", "messages"):
        assert LEVELS[name].before != LEVELS[name].par


@EVERY
def test_less_than_the_whole_order_is_no_solution(level: Level) -> None:
    s = level.solution
    steps = list(zip(s.kind.tolist(), s.stage.tolist(), s.microbatch.tolist(), strict=True))
    whole = [steps[a:b] for a, b in itertools.pairwise(s.first)]
    empty = Draft.of_steps("empty", [[] for _ in whole], s.stages, s.microbatches)
    assert not level.is_reached(empty)
    for rank in range(s.ranks):
        shorter = [order[:-1] if at == rank else order for at, order in enumerate(whole)]
        assert not level.is_reached(Draft.of_steps("shorter", shorter, s.stages, s.microbatches))
    assert level.is_reached(Draft.of_steps("whole", whole, s.stages, s.microbatches))


def test_an_order_that_the_level_does_not_allow_is_no_solution() -> None:
    gpipe, memory = LEVELS["gpipe"], LEVELS["memory"]
    assert not memory.is_reached(gpipe.solution)  # it holds four
    assert not gpipe.is_reached(schedules.gpipe(3, 5)) and not gpipe.is_reached(schedules.gpipe(2, 4))
    assert gpipe.is_reached(schedules.one_f_one_b(3, 4))
    assert not gpipe.is_reached(schedules.zb_h1(3, 4))  # shorter, with B and W apart
    assert not gpipe.is_reached(Schedule.of("late", ["F0 BW0 F1 BW1 F2 BW2 F3 BW3"] * 3))
    loop, turned = LEVELS["interleaved"], LEVELS["interleaved"].solution.orders[::-1]
    assert not loop.is_reached(Schedule.of("turned", turned))  # the stages are on the other ranks


def test_what_one_level_teaches_is_not_enough_for_the_next() -> None:
    """The schedule that the goal names is over par or over the limit."""
    for level in LEVELS.values():
        if level.against:
            assert not level.is_reached(schedules.BY_NAME[level.against](level.ranks, level.microbatches))


def test_levels_follow_one_another() -> None:
    names = list(LEVELS)
    assert [after(name) for name in names] == [*names[1:], ""]


def test_a_backward_is_joined_at_its_b() -> None:
    apart = Schedule.of("apart", ["F0 F1 B0 B1 W1 W0", "F0 B0 F1 W0 B1 W1"])
    assert joined(apart).orders == ("F0 F1 BW0 BW1", "F0 BW0 F1 BW1")
    assert set(joined(schedules.zb_v(2, 3)).kind.tolist()).isdisjoint({B, W}) and BW == 3
