"""Marks, ticks and numbers of the timeline picture."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timeline_samples import compute

from lab_utils.render import palette
from lab_utils.render.kit import number, time_axis
from lab_utils.timeline import Span
from lab_utils.timeline.span import Spans
from lab_utils.widgets.timeline_view.marks import BIN, THINNEST, Mark, marks, thinnest


def drawn_marks(spans: list[Span], scale: float, thin_units: float = THINNEST) -> list[Mark]:
    held = Spans.from_spans(spans)
    return list(marks(held, held.columns.activity, 0, 0, scale, thin_units))


def test_thousands_of_ops_become_a_density_that_keeps_their_shares() -> None:
    op = compute(0, 0, 1)
    spans = [
        Span(0, "own", ("compute", "communication", "waiting")[n % 3], n, n + 1 - n % 2 / 2, op) for n in range(30_000)
    ]
    drawn = drawn_marks(spans, 0.01)
    widest = BIN * THINNEST
    assert len(drawn) <= 3 * 300 / (widest - 0.02)
    assert all(mark.width <= widest + 1e-9 for mark in drawn)
    for at in {mark.x for mark in drawn}:
        stack = [mark for mark in drawn if mark.x == at]
        assert sum(mark.height for mark in stack) == pytest.approx(1)
        assert all(one.bottom + one.height == pytest.approx(two.bottom) for one, two in pairwise(stack))
    areas = {name: sum(m.width * m.height for m in drawn if m.paint == name) for name in palette.ACTIVITIES}
    assert areas["compute"] == pytest.approx(sum(areas.values()) / 3, rel=0.02)
    assert drawn[0].tip.splitlines()[0].startswith("200 short stretches (compute ")


def test_thin_spans_far_apart_stay_apart_and_visible() -> None:
    op = compute(0, 0, 1)
    spans = [Span(0, "own", "compute", at, at + 0.01, op) for at in (0, 10, 20)]
    drawn = drawn_marks(spans, 1)
    assert [(mark.x, mark.width, mark.height) for mark in drawn] == [(at, THINNEST, 1) for at in (0, 10, 20)]


@given(st.floats(1e-9, 1e5), st.integers(3, 12))
def test_ticks_are_round_and_few(makespan_s: float, most: int) -> None:
    axis = time_axis(makespan_s, most)
    at = [tick for tick, _ in axis.ticks]
    assert 1 <= len(at) <= most
    assert at[0] == 0 and at[-1] <= makespan_s * (1 + 1e-9)
    labels = [float(label.replace(",", "")) for _, label in axis.ticks]
    assert all(b > a for a, b in pairwise(labels))
    if len(at) > 1:
        assert makespan_s - at[-1] < at[1] * (1 + 1e-6)
        assert f"{at[1]:.6e}"[0] in "125" or f"{at[1]:.0e}"[0] in "125"


def test_ticks_of_known_lengths() -> None:
    assert time_axis(0.0181).ticks[:2] == ((0, "0"), (pytest.approx(0.005), "5"))
    assert [label for _, label in time_axis(2.47e-3).ticks] == ["0", "0.5", "1.0", "1.5", "2.0"]
    assert (time_axis(2.47e-3).unit, time_axis(5).unit, time_axis(5e-6).unit) == ("ms", "s", "µs")
    assert time_axis(0).ticks == ((0, "0"),)


@given(st.floats(-1e6, 1e6))
def test_numbers_are_short_and_close(value: float) -> None:
    assert re.fullmatch(r"-?\d+(\.\d{1,2})?", number(value))
    assert number(value) != "-0"
    assert abs(float(number(value)) - value) <= 0.0051


def test_a_large_picture_has_few_marks_and_hides_no_bubble() -> None:
    """A hundred spans, a pause as long as ten of them, and a hundred more, all below what is drawn alone."""
    op = compute(0, 0, 1)
    spans = [Span(0, "own", "compute", at, at + 1, op) for at in (*range(100), *range(110, 210))]
    thin_units = thinnest(spans=1_000_000, tracks=100, width=700)
    drawn = drawn_marks(spans, 1, thin_units)
    assert thin_units == 7 and len(drawn) <= 2 * (100 / (BIN * thin_units - 1) + 1)
    assert not any(mark.x < 105 < mark.x + mark.width for mark in drawn)
    assert sum(mark.width for mark in drawn) == pytest.approx(200)
