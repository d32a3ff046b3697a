"""Before and after, bars and curves: deterministic, well-formed, and true to what they are given."""

from __future__ import annotations

import math
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.render import palette
from lab_utils.render.bar_chart import bars
from lab_utils.render.collective import before_after
from lab_utils.render.curve import loss_curve, ticks
from lab_utils.render.kit import Picture
from lab_utils.render.palette import RANKS, SERIES, rank_fill

SVG = "{http://www.w3.org/2000/svg}"


def gathered() -> Picture:
    own = [np.array([10 * rank + 1, 10 * rank + 2]) for rank in range(4)]
    return before_after("all_gather", [(x, np.concatenate(own)) for x in own])


def counted() -> Picture:
    return bars("Bytes sent", [("ring", 6000, 6000), ("tree", 8000, 4000), ("none", 0)], subtitle="on 4 ranks")


def curves() -> Picture:
    return loss_curve({"serial": [5.0, 4.0, 3.5], "4 ranks": [(0, 5.0), (2, 3.0)]}, "Two runs")


DRAWN: dict[str, Callable[[], Picture]] = {
    "gathered": gathered,
    "bars": counted,
    "curves": curves,
}


def parsed(picture: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(picture.svg)


def shown(root: ElementTree.Element) -> list[str]:
    return [element.text for element in root.iter(f"{SVG}text")]


def cells(picture: Picture, rank: int) -> list[tuple[str, str]]:
    """(fill, tip) of each cell in a rank's row."""
    row = parsed(picture).find(f".//{SVG}g[@data-rank='{rank}']")
    boxes = [box for box in row.iter(f"{SVG}rect") if box.find(f"{SVG}title") is not None]  # no plates below words
    return [(box.get("fill"), box.find(f"{SVG}title").text) for box in boxes]


@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_is_deterministic_well_formed_and_in_words(name: str) -> None:
    picture, again = DRAWN[name](), DRAWN[name]()
    assert picture == again
    assert picture._repr_mimebundle_() == {
        "image/svg+xml": picture.svg,
        "text/plain": repr(picture),
    }
    root = parsed(picture)
    assert root.get("role") == "img" and root.get("aria-label") and root.find(f"{SVG}desc").text == repr(picture)
    width, height = map(float, root.get("viewBox").split()[2:])
    assert width <= 920
    for box in root.iter(f"{SVG}rect"):
        if box.get("x") and box.find(f"../{SVG}pattern") is None:
            assert 0 <= float(box.get("x")) and float(box.get("x")) + float(box.get("width")) <= width
            assert 0 <= float(box.get("y")) and float(box.get("y")) + float(box.get("height")) <= height
    for element in root.iter(f"{SVG}text"):
        if "transform" not in element.attrib:
            assert 0 <= float(element.get("x")) <= width and 0 <= float(element.get("y")) <= height


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_words_and_lines_stand_out() -> None:
    assert min(contrast(palette.INK, tint) for tint in RANKS) > 7
    assert min(contrast(series.stroke, palette.CARD) for series in SERIES) > 3
    assert len({series.dashes for series in SERIES}) == len({series.mark for series in SERIES}) == len(SERIES)


# ---------------------------------------------------------------------- before and after
def test_cells_are_tinted_by_the_rank_they_came_from() -> None:
    for rank in range(4):
        fills = [fill for fill, _ in cells(gathered(), rank)]
        assert fills == [rank_fill(rank)] * 2 + [rank_fill(owner) for owner in range(4) for _ in range(2)]
    assert repr(gathered()).splitlines()[:2] == [
        "all_gather on 4 ranks",
        "rank 0: [1, 2] → [1, 2, 11, 12, 21, 22, 31, 32] (from ranks 0, 1, 2, 3)",
    ]
    assert {"r0", "r1", "r2", "r3", "before", "after", "all_gather"} <= set(shown(parsed(gathered())))


def test_a_reduction_is_striped_and_what_many_had_is_plain() -> None:
    picture = before_after("reduce", [(np.array([1.5, 0]), np.array([12.0, 0])), (np.array([10.5, 0]), None)])
    (own, _), (zero, tip0), (reduced, tip), (after0, _) = cells(picture, 0)
    assert own == rank_fill(0) and zero == after0 == "#ffffff" and tip0.endswith("held by several ranks before")
    assert reduced.startswith("url(#") and tip == "12: reduced, held by no rank before"
    assert reduced[5:-1] in {element.get("id") for element in parsed(picture).iter(f"{SVG}pattern")}
    assert repr(picture).splitlines()[1:] == [
        "rank 0: [1.5, 0] → [12, 0] (reduced; several ranks had it)",
        "rank 1: [10.5, 0] → nothing",
    ]


def test_nothing_and_tables_of_numbers() -> None:
    table = np.arange(8).reshape(4, 2)
    picture = before_after("scatter", [(table if rank == 0 else None, table[rank]) for rank in range(4)])
    assert shown(parsed(picture)).count("nothing") == 3 and len(cells(picture, 0)) == 8 + 2
    assert repr(picture).splitlines()[1] == "rank 0: [[0, 1], [2, 3], [4, 5], [6, 7]] → [0, 1] (from rank 0)"


@pytest.mark.parametrize("shape", [(2, 2, 2), (17,)])
def test_arrays_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"does not fit: give \[columns\]"):
        before_after("gather", [(np.zeros(shape), None)])


# ---------------------------------------------------------------------- bars
def test_bars_are_as_long_as_their_values() -> None:
    root = parsed(counted())
    widths = [float(row.find(f"{SVG}rect").get("width")) for row in root.iter(f"{SVG}g")]
    assert widths[1] / widths[0] == pytest.approx(8 / 6, rel=1e-3) and widths[2] == 1
    assert {"6.00 kB", "8.00 kB", "0 bytes", "counted", "by the formula"} <= set(shown(root))
    assert repr(counted()).splitlines()[1:] == [
        "ring: 6.00 kB, as the formula says", "tree: 8.00 kB, formula 4.00 kB", "none: 0 bytes",
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [[], [("a", -1)], [("a", math.inf)], [("a", 1, math.nan)]])
def test_bars_without_a_length_are_refused(rows: list) -> None:
    with pytest.raises(ValueError, match="values of at least 0"):
        bars("Bytes", rows)


# ---------------------------------------------------------------------- curves
def test_series_differ_in_dashes_and_mark_and_are_named() -> None:
    root = parsed(curves())
    lines = [line for line in root.iter(f"{SVG}path") if line.get("fill") == "none"]
    assert [line.get("stroke") for line in lines] == [look.stroke for look in SERIES[:2]]
    assert [line.get("stroke-dasharray") for line in lines] == [None, SERIES[1].dashes]
    assert {"serial", "4 ranks", "step", "loss (nats a token)", *(look.mark for look in SERIES[:2])} <= set(shown(root))
    assert repr(curves()).splitlines()[1:] == [
        "serial: 5.00 at step 0, 3.50 at step 2, lowest 3.50 at step 2",
        "4 ranks: 5.00 at step 0, 3.00 at step 2, lowest 3.00 at step 2",
    ]


def test_what_goes_along_may_be_named() -> None:
    picture = loss_curve({"run": [(10.0, 4.0), (20.0, 3.0)]}, "Held out", "MSE", along="second")
    assert repr(picture).splitlines()[1] == "run: 4.00 at second 10, 3.00 at second 20, lowest 3.00 at second 20"
    assert {"second", "loss (MSE) over seconds"} <= set(shown(parsed(picture)))


def test_losses_that_are_not_numbers_leave_a_gap() -> None:
    picture = loss_curve({"run": [4.0, 3.0, math.nan, 2.0, 1.0]})
    assert sum(line.get("fill") == "none" for line in parsed(picture).iter(f"{SVG}path")) == 2
    assert "1 not a number" in repr(picture)


@pytest.mark.parametrize("series", [{}, {"run": []}, {"run": [math.nan]}])
def test_nothing_to_draw_is_refused(series: dict) -> None:
    with pytest.raises(ValueError, match="there is no loss to draw"):
        loss_curve(series)


def test_more_series_than_looks_are_refused() -> None:
    with pytest.raises(ValueError, match="7 series cannot be told apart"):
        loss_curve({str(k): [1.0] for k in range(7)})


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(deadline=None)
def test_ticks_are_few_and_hold_the_values(low: float, spread: float) -> None:
    found = ticks(low, low + spread)
    size = found[1] - found[0]
    assert 2 <= len(found) <= 8 and found[0] <= low + 1e-6 * size and found[-1] >= low + spread - 1e-6 * size


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
@settings(deadline=None, max_examples=50)
def test_any_losses_stay_inside_the_frame(losses: list[float]) -> None:
    root = parsed(loss_curve({"run": losses}))
    for line in root.iter(f"{SVG}path"):
        points = [tuple(map(float, point.split())) for point in line.get("d").lstrip("M").split("L")]
        assert all(69.9 <= x <= 690.1 and 81.9 <= y <= 284.1 for x, y in points)
