"""Every exercise unanswered; those that ask for numbers right, and wrong in the ways that people go wrong."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from right_numbers import MIB, NUMBERS

from lab_utils.exercises import EXERCISES, WrongCall, check, solution
from lab_utils.exercises.ch00_ranks.numbers import leaving_node
from lab_utils.exercises.ch01_data.numbers import TOLERANCE

CODE = ("00.4", "00.5", "00.7", "00.8", "01.3", "01.4", "01.5", "01.7", "01.8", "01.9", "01.11", "01.12", "01.15")
CODE += ("03.6", "03.7", "03.8", "03.9", "03.10", "03.11", "03.12", "03.13")
CODE += ("03.14",)
CODE += ("00.9",)
CODE += ("01.16",)
CODE += ("01.17",)
CODE += ("01.18",)
CODE += ("01.20",)
CODE += ("01.19",)


COINCIDE = {("01.10", 2, "in_half"), ("01.10", 2, "all_ranks")}  # ZeRO-3: as "half", and as "unsharded"


# ---------------------------------------------------------------------- all of them
def test_all_exercises_are_here_once() -> None:
    assert sorted(EXERCISES) == sorted([*NUMBERS, *CODE])


def asked() -> dict[str, list[tuple[str, str]]]:
    """Return per notebook what it calls, in its order: ("predict", "00.a"), ("reveal", "00.a"), ("check", "00.1")."""
    calls = {}
    for notebook in sorted(Path(__file__).parents[2].glob("labs/*.ipynb")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        calls[notebook.stem] = re.findall(r"\b(check|predict|reveal)\(\"([\w.]+)\"", source)
    return calls


def test_the_chapters_ask_each_exercise_once_and_their_numbers_rise() -> None:
    calls = asked()
    every = [name for each in calls.values() for call, name in each if call != "reveal"]
    assert sorted(every) == sorted(EXERCISES)
    for notebook, each in calls.items():
        checked = [name for call, name in each if call == "check"]
        assert checked == [name for name in EXERCISES if name in checked], notebook


def test_what_is_predicted_is_revealed_later_in_the_same_chapter() -> None:
    for notebook, each in asked().items():
        predicted = [name for call, name in each if call == "predict"]
        assert len(predicted) >= 3, notebook
        assert predicted == [name for call, name in each if call == "reveal"], notebook
        for name in predicted:
            assert each.index(("predict", name)) < each.index(("reveal", name)), notebook


@pytest.mark.parametrize("name", [*NUMBERS, *CODE])
def test_every_exercise_has_the_one_shape(name: str) -> None:
    exercise, given = EXERCISES[name], NUMBERS.get(name, ((), {}))[1]
    assert exercise.goal.endswith(("?", ".")) and exercise.replace.endswith(".") and exercise.hints
    for answers in ((), (...,), (..., ...), (1, ...)):
        card = check(name, *answers, **given)
        assert card.state == "open" and repr(card) == f"○ {name} {exercise.goal}\n  {exercise.replace}"
    assert solution(name, **given).right and repr(solution(name, **given)).startswith(f"✓ {name} ")


def test_unknown_exercises_and_missing_numbers_are_said() -> None:
    with pytest.raises(WrongCall, match=r"no exercise '00.99': there are 00.\w+ to 00.\d+, 01.\w+ to 01.\d+, "):
        check("00.99", 1)
    with pytest.raises(TypeError, match=r"01.1 needs parameters=..., got nothing more"):
        check("01.1", 1)
    with pytest.raises(WrongCall, match=r'^call it as check\("01.3", ranks, function\)$') as raised:
        check("01.3", "my_step")
    assert raised.value._render_traceback_() == [f"WrongCall: {raised.value}"]
    with pytest.raises(TypeError, match=r"00.1 needs nothing besides the answer, got parameters"):
        check("00.1", 6, parameters=3)


def test_the_notebook_card_is_whole_html_and_says_the_same() -> None:
    card = check("00.2", 48 * MIB)
    parser, tags, said = HTMLParser(), [], []
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.handle_data = said.append
    parser.feed(card._repr_html_())
    assert tags[0][1]["role"] == "note" and tags[0][1]["aria-label"] == "Exercise 00.2: not right"
    assert card.sentence in "".join(said) and all(hint in "".join(said) for hint in card.hints)
    assert sum(tag == "details" for tag, _ in tags) == len(card.hints)
    assert card._repr_html_() == check("00.2", 48 * MIB)._repr_html_()


# ---------------------------------------------------------------------- numbers
@pytest.mark.parametrize("name", NUMBERS)
def test_right_numbers(name: str) -> None:
    answers, given = NUMBERS[name]
    for right in (answers, (answers,), (list(answers),), tuple(np.float64(a) for a in answers)):
        assert check(name, *right, **given).right
    assert check(name, *answers, **given) == solution(name, **given)


@pytest.mark.parametrize("name", NUMBERS)
def test_wrong_numbers_are_told_the_direction_and_never_the_answer(name: str) -> None:
    answers, given = NUMBERS[name]
    for factor, word in ((0.777, "too small"), (1.333, "too large")):
        card = check(name, *(factor * a for a in answers), **given)
        assert card.state == "wrong" and [card.sentence, *card.lines] == [
            line for line in (card.sentence, *card.lines) if word in line
        ]
        assert len(card.lines) == len(answers) - 1
        for right in answers:
            assert not {f"{right}", f"{right:,}", f"{right / MIB:g}"} & set(repr(card).split())


@pytest.mark.parametrize("name", NUMBERS)
def test_known_mistakes_are_wrong_and_are_named(name: str) -> None:
    answers, given = NUMBERS[name]
    judge = EXERCISES[name].judge
    for at, (asked, quantity) in enumerate(zip(judge.words.names, judge.numbers(**given)[0], strict=True)):
        assert quantity.is_right(answers[at]) and quantity.misses
        whys = {miss: judge.said(getattr(judge.words, miss)) for miss in quantity.misses}
        for miss, value in quantity.misses.items():
            answer = [*answers]
            answer[at] = value
            card = check(name, *answer, **given)
            assert card.state == "wrong" and card.sentence.startswith(judge.said(asked)) and not card.lines
            assert card.sentence.endswith(whys[miss]) or (name, at, miss) in COINCIDE


@pytest.mark.parametrize("answer", ["6", None, True, math.nan, math.inf, np.arange(2), [1, 2]])
def test_what_is_no_number_is_said(answer: object) -> None:
    card = check("00.1", answer)
    assert card.state == "wrong" and ("is not a number" in card.sentence or " given where " in card.sentence)


def test_too_few_and_too_many_answers() -> None:
    assert check("00.3", 14).sentence.startswith("1 answer was given where 2 are asked for: rounds of the ring, ")
    assert check("00.1", 6, 6).state == "wrong"


def test_fractions_within_the_tolerance_only() -> None:
    assert check("01.6", 0.79, 0.21).right and TOLERANCE < 0.05
    assert "h % 20" in check("01.6", 0.75, 0.2).sentence
    assert check("01.6", 0.8, 0.25).state == "wrong"


@pytest.mark.parametrize(("ranks", "per_node"), [(4, 2), (8, 4), (8, 2), (6, 3)])
def test_bytes_that_leave_a_node(ranks: int, per_node: int) -> None:
    nodes, size = ranks // per_node, 240
    assert leaving_node(ranks, per_node, size) == (2 * (ranks - 1) * size // ranks, 2 * (nodes - 1) * size // nodes)


def test_what_an_exercise_needs_may_come_with_the_answer() -> None:
    assert check("01.1", ...).state == "open" and check("01.1").state == "open"


def fields(words: str | tuple[str, ...]) -> set[str]:
    texts = (words,) if isinstance(words, str) else words
    return {field for text in texts for _, field, _, _ in Formatter().parse(text) if field}


@pytest.mark.parametrize("name", [*NUMBERS, *CODE])
def test_every_value_is_in_the_explanation_and_every_size_in_some_template(name: str) -> None:
    exercise, given = EXERCISES[name], NUMBERS.get(name, ((), {}))[1]
    said = [getattr(exercise.words, each) for each in dir(exercise.words) if each[0] != "_"]
    assert exercise.values(**given).keys() <= fields(exercise.words.explain)
    assert exercise.sizes.keys() <= set().union(*map(fields, said))


def test_catalogues_hold_words_only() -> None:
    """So a second language replaces them and nothing else: templates, alone or in a row, by name."""
    for exercise in EXERCISES.values():
        said = {
            name: value for name in dir(exercise.words) if (value := getattr(exercise.words, name)) and name[0] != "_"
        }
        assert {"goal", "replace", "hints", "explain"} <= said.keys()
        for name, value in said.items():
            texts = (value,) if isinstance(value, str) else value
            assert isinstance(texts, tuple) and all(isinstance(text, str) for text in texts), (exercise.id, name)
