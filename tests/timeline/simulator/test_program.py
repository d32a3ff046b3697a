"""Placing nodes on streams: their times to the last bit, the critical path, circles, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs_strategy import Drawn, drawn_programs, seconds

import lab_utils.timeline.simulator.placing_loop  # noqa: F401 - loaded here, so that it takes nothing from the first example's time
from lab_utils.bench.figures_of.simulate import hub
from lab_utils.timeline.simulator.program import Circle, Program, Times, place


def placed(drawn: Drawn) -> Times:
    return place(drawn.program(), np.array(drawn.cost), np.array(drawn.lag))


@given(drawn_programs())
def test_every_node_to_the_last_bit(drawn: Drawn) -> None:
    starts_s, ends_s = drawn.times()
    times = placed(drawn)
    assert times.start_s.tolist() == starts_s and times.end_s.tolist() == ends_s
    assert times.makespan_s == max(ends_s, default=0.0)


@given(drawn_programs(least=1))
def test_the_critical_path_has_no_gap(drawn: Drawn) -> None:
    times = placed(drawn)
    path, p = times.critical_path, times.program
    assert times.start_s[path[0]] == 0.0 and times.end_s[path[-1]] == times.makespan_s
    for before, after in zip(path, path[1:], strict=False):
        edges = slice(p.edge_first[after], p.edge_first[after + 1])
        lags_s = times.lag[p.edge_class[edges][p.edge_from[edges] == before]].tolist()
        if p.stream[before] == p.stream[after] and before == after - 1:
            lags_s.append(0.0)
        assert times.start_s[after] in [times.end_s[before] + lag_s for lag_s in lags_s]


@given(drawn_programs(least=1), st.data())
def test_only_the_critical_path_decides(drawn: Drawn, data: st.DataObject) -> None:
    """A node off the path may cost nothing; a second more on one that is on it is at least a second more in all."""
    program, each = drawn.program(), np.array(drawn.cost)[drawn.program().cost_class]
    own = Program(
        program.first, np.arange(program.nodes, dtype=np.int32), program.edge_first, program.edge_from,
        program.edge_class,
    )  # fmt: skip
    times = place(own, each, np.array(drawn.lag))
    node = data.draw(st.integers(0, program.nodes - 1))
    changed = each.copy()
    changed[node] = changed[node] + 1.0 if node in times.critical_path else 0.0
    again = place(own, changed, np.array(drawn.lag))
    if node in times.critical_path:
        assert again.makespan_s == pytest.approx(times.makespan_s + 1.0, rel=1e-12)
    else:
        assert again.makespan_s == times.makespan_s


@given(drawn_programs(), st.data())
def test_the_order_of_the_streams_changes_nothing(drawn: Drawn, data: st.DataObject) -> None:
    new = data.draw(st.permutations(range(drawn.streams)))
    other = replace(drawn, stream=tuple(new[stream] for stream in drawn.stream))
    assert placed(other).end_s[other.place_of].tolist() == placed(drawn).end_s[drawn.place_of].tolist()


@given(drawn_programs(least=1), st.data())
def test_a_circle_tells_who_is_blocked(drawn: Drawn, data: st.DataObject) -> None:
    """An edge from a node to one that it needs itself, by way of any others."""
    source = data.draw(st.integers(0, len(drawn.stream) - 1))
    needed = {source}
    for node in range(source, -1, -1):
        if node in needed:
            needed |= {*drawn.before(node), *(other for other, _ in drawn.needs[node])}
    node = data.draw(st.sampled_from(sorted(needed)))
    never = drawn.never(source, node)
    first_of = {drawn.stream[lost]: drawn.place_of[lost] for lost in reversed(never)}
    with pytest.raises(Circle, match=f"^{len(first_of)} streams wait for each other in a circle") as circle:
        place(drawn.program(more=((source, node),)), np.array(drawn.cost), np.array(drawn.lag))
    assert sorted(circle.value.blocked.tolist()) == sorted(first_of.values())


@given(drawn_programs(least=1), seconds)
def test_nothing_given_is_changed(drawn: Drawn, more_s: float) -> None:
    cost, lag = np.array(drawn.cost), np.array(drawn.lag)
    first = place(program := drawn.program(), cost, lag)
    before_s = first.end_s.copy()
    place(program, cost + more_s, lag + more_s)
    assert cost.tolist() == list(drawn.cost) and lag.tolist() == list(drawn.lag)
    assert first.end_s.tolist() == before_s.tolist()


def chain(*classes: int) -> Program:
    """One stream, no edges."""
    none = np.zeros(0, np.int32)
    ends = np.array([0, len(classes)], np.int64)
    return Program(ends, np.array(classes, np.int32), np.zeros(len(classes) + 1, np.int32), none, none.astype(np.uint8))


def test_nothing_to_place() -> None:
    times = place(chain(), np.zeros(0))
    assert (times.makespan_s, times.critical_path) == (0.0, ())


def test_costs_may_come_from_any_array() -> None:
    assert place(chain(0, 1), [1, 2]).end_s.tolist() == [1.0, 3.0]
    assert place(chain(0, 1), np.arange(8, dtype=np.float32)[1::2]).end_s.tolist() == [1.0, 4.0]


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_costs_that_are_no_seconds(wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"^cost 1 is {wrong}: seconds must be a number, 0 or more"):
        place(chain(0, 1), np.array([1.0, wrong]))
    with pytest.raises(ValueError, match=rf"^lag 0 is {wrong}: seconds must be a number, 0 or more"):
        place(chain(0), np.ones(1), np.array([wrong]))


def test_costs_that_are_missing() -> None:
    with pytest.raises(ValueError, match="^3 classes of cost are used, and 2 are given"):
        place(chain(0, 2), np.ones(2))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_hub_takes_one_turn_after_the_other(backwards: bool) -> None:
    ends_s = place(hub(3, backwards), np.ones(1)).end_s
    assert ends_s.tolist() == [1, 3, 4, 6, 7, 9, *((8, 5, 2) if backwards else (2, 5, 8))]
