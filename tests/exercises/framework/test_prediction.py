"""Predictions are kept, and revealed beside the right numbers and those of a run."""

from __future__ import annotations

import pytest

from lab_utils.exercises import WrongCall, predict, reveal

RIGHT = (3 / 11, 3 / 11, 3 / 19)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    predict("03.1", ...)


def test_a_prediction_is_kept_without_a_verdict() -> None:
    card = predict("03.1", 0.27, 0.5, 0.15)
    assert card.state == "kept" and not card.right
    assert "GPipe 0.27, 1F1B 0.50" in repr(card) and "too" not in repr(card)


def test_it_stands_beside_the_right_and_the_measured_numbers() -> None:
    predict("03.1", 3 / 11, 3 / 8, 3 / 19)
    shown = reveal("03.1", [0.3, 0.31, 0.2])
    assert shown.table == (
        ("", "yours", "right", "measured"),
        ("GPipe", "0.27", "0.27", "0.30"),
        ("1F1B", "0.38", "0.27", "0.31"),
        ("interleaved 1F1B, 2 virtual stages per rank", "0.16", "0.16", "0.20"),
    )
    (miss,) = shown.lines
    assert miss.startswith("1F1B: too large: that is idle time in parts of the work")
    assert "<details open" in shown._repr_html_() and "<td" in shown._repr_html_()


def test_the_simulator_s_numbers_are_headed_so() -> None:
    predict("03.1", RIGHT)
    assert reveal("03.1", simulated=[0.3, 0.31, 0.2]).table[:2] == (
        ("", "yours", "right", "simulated"),
        ("GPipe", "0.27", "0.27", "0.30"),
    )
    assert reveal("03.1", [0.4] * 3, [0.3] * 3).table[0] == ("", "yours", "right", "measured", "simulated")


def test_a_right_one_is_said_to_be_so() -> None:
    predict("03.1", RIGHT)
    assert reveal("03.1").lines == ("As you predicted.",)


def test_a_page_without_a_prediction_gives_nothing_away() -> None:
    shown = reveal("03.1", [0.3, 0.31, 0.2])
    assert [row[1] for row in shown.table[1:]] == ["-"] * 3
    assert "<details style" in shown._repr_html_()  # folded
    assert repr(shown) == "03.1\nYou made no prediction: `predict` keeps one, before this cell runs."
    predict("03.1", RIGHT)
    assert repr(reveal("03.1")).count("0.27") == 4


def test_dots_take_a_prediction_back() -> None:
    predict("03.1", 0.27, 0.27, 0.16)
    assert predict("03.1", 0.27, ..., 0.16).state == "open"
    assert "You made no prediction" in repr(reveal("03.1"))


@pytest.mark.parametrize(
    ("exercise", "answers", "sentence"),
    [
        ("03.1", (0.27,), "1 answer was given where 3 are asked for: GPipe, 1F1B"),
        ("03.1", (0.27, "many", 0.16), "1F1B: 'many' is not a number"),
        ("03.6", ("F0",), "exercise 03.6 asks for no numbers to predict: use check"),
        ("03.99", (1,), "there is no exercise '03.99'"),
    ],
)
def test_what_is_no_prediction_is_one_sentence(exercise: str, answers: tuple, sentence: str) -> None:
    with pytest.raises(WrongCall, match=sentence):
        predict(exercise, *answers)


def test_measured_numbers_must_be_as_many() -> None:
    with pytest.raises(WrongCall, match="asks for 3 numbers, and 1 measured ones were given"):
        reveal("03.1", [0.3])
    with pytest.raises(WrongCall, match="asks for 3 numbers, and 2 simulated ones were given"):
        reveal("03.1", simulated=[0.3, 0.4])
