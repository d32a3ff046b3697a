"""Exercises 03.9 to 03.12, and 03.14, on real ranks: right, stubs, and what people write instead, with its sentence."""

from __future__ import annotations

import re

import exercise_cells_pipeline as cells
import exercise_runs
import pytest

from lab_utils.exercises import solution

VERSIONS = {"03.9": cells.STEP, "03.10": cells.RUN, "03.11": cells.BACKWARD, "03.12": cells.TIED, "03.14": cells.LOOP}


def source(exercise: str, version: str) -> str:
    return cells.IMPORTS + VERSIONS[exercise][version]


def judged(ranks, exercise: str, version: str):
    return exercise_runs.judged(ranks, exercise, source(exercise, version))


def assert_told(ranks, exercise: str, version: str, said: str) -> None:
    card = judged(ranks, exercise, version)
    assert card.state == "wrong" and card.sentence.startswith(said), card
    assert ".py" not in repr(card)  # the lab's own lines are not named


RIGHT = [
    *(("03.9", version) for version in ("mended", "divided_after", "backwards_in_turn")),
    *(("03.10", version) for version in ("mended", "a_dict")),
    *(("03.11", version) for version in ("mended", "at_once", "a_list")),
    *(("03.12", version) for version in ("mended", "sent_back", "a_group")),
    *(("03.14", version) for version in ("mended", "phases", "any_size")),
]


@pytest.mark.parametrize(("name", "version"), RIGHT)
def test_right_versions(ranks4, name: str, version: str) -> None:
    exercise_runs.assert_right(ranks4, name, source(name, version))


@pytest.mark.parametrize("name", VERSIONS)
def test_stubs_are_not_answered_yet(ranks4, name: str) -> None:
    _, other = [version for version in ("stub", "dots", "pass") if version in VERSIONS[name]]
    for version in ("stub", other):
        exercise_runs.assert_open(ranks4, name, source(name, version))


@pytest.mark.parametrize("name", VERSIONS)
def test_two_ranks_will_do(ranks2, name: str) -> None:
    assert judged(ranks2, name, "mended").right
    assert judged(ranks2, name, "no_warm_up" if name == "03.14" else "planted").state == "wrong"


# ---------------------------------------------------------------------- 03.9
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "planted",
            "gradients are 6.00 × serial: they add up over 6 micro-batches, and nothing divides by that number",
        ),
        ("twice", "gradients are 0.17 × serial: divided by the number of micro-batches once too often"),
        (
            "by_samples",
            "gradients are 2.00 × serial: divided by the samples of a micro-batch, and each loss is a mean over these "
            "already",
        ),
        ("by_ranks", "gradients are 1.50 × serial: divided by the number of ranks, and not by that of micro-batches"),
        ("by_five", "gradients are 1.20 × serial"),
    ],
)
def test_steps_that_are_off_by_one_factor(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "03.9", version)
    assert card.state == "wrong" and card.sentence == said
    assert card.lines == ("tokens.weight on rank 0 is, and so are the 64 others, on every rank",)


@pytest.mark.parametrize(
    ("version", "said", "line"),
    [
        (
            "at_each_stage",
            "gradients are serial's times a factor: 0.00463 on rank 0, 0.0278 on rank 1, 0.167 on rank 2, 1 on rank 3",
            "from each rank to the one before they become 0.167 × as large: what is sent back?",
        ),
        (
            "on_the_last_only",
            "gradients are serial's times a factor: 6 on rank 0, 6 on rank 1, 6 on rank 2, 1 on rank 3",
            "a whole stage is off by one factor",
        ),
        ("last_only", "gradients on every rank are those of micro-batch 5 alone", ""),
        ("one_short", "what micro-batch 5 adds to the gradients is missing, on every rank", ""),
        ("sends_x", "gradients on rank 2 are not serial's: ", "behind it are right: rank 3; gradients come from the"),
        ("no_numbers", "gradients on rank 2 are not serial's: blocks.2.", "behind it are right: rank 3; gradients"),
        ("middle", "gradients on rank 1 are not serial's: blocks.1.norm1.weight differs most", "others are right"),
        ("forward_only", "rank 0 has no gradient of tokens.weight and 16 more of its 17: no backward has come", ""),
        ("zeroed", "rank 0 has no gradient of tokens.weight and 16 more of its 17: no backward has come there", ""),
    ],
)  # fmt: skip
def test_steps_that_are_off_otherwise(ranks4, version: str, said: str, line: str) -> None:
    card = judged(ranks4, "03.9", version)
    assert card.state == "wrong" and card.sentence.startswith(said), card
    assert "".join(card.lines[:1]).startswith(line) and bool(card.lines) == bool(line)


def test_a_step_that_sends_nothing_back_gets_stuck(ranks4) -> None:
    card = judged(ranks4, "03.9", "stuck")
    assert card.state == "wrong" and card.sentence.startswith("rank 2 is in recv #"), card
    assert card.sentence.endswith("from rank 3 (line 12); rank 3 returned without sending")
    assert judged(ranks4, "03.9", "mended").right


# ---------------------------------------------------------------------- 03.10
@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "on rank 0 the backward of micro-batch 0 runs on the activations of micro-batch 3"),
        ("two", "on rank 0 the backward of micro-batch 0 runs on the activations of micro-batch 2"),
        ("last_in", "on rank 0 the backward of micro-batch 0 runs on the activations of micro-batch 3"),
        ("many", "the gradients are right, and rank 0 keeps 6 micro-batches' activations at once: its order never has"),
        ("as_many_on_each", "the gradients are right, and rank 1 keeps 4 micro-batches' activations at once: its "),
        ("all_forwards_first", "rank 0 runs F4 as op 5, and the order has B0 there"),
        ("stops", "rank 0 runs 11 ops, and the order has 12"),
        ("nothing_kept", "on rank 0 backward(0, ...) was given NoneType, and not what a forward returned"),
    ],
)
def test_wrong_slots(ranks4, version: str, said: str) -> None:
    assert_told(ranks4, "03.10", version, said)


def test_slots_that_are_too_few_are_counted_by_rank(ranks4) -> None:
    card = judged(ranks4, "03.10", "planted")
    counted = "backwards on others' activations: rank 0: 3 of 6, rank 1: 4 of 6, rank 2: 5 of 6, rank 3: 0 of 6"
    assert card.lines[0] == counted
    assert card.lines[1].startswith("gradients on rank 2 are not serial's: blocks.2.")
    assert card.lines[2].startswith("behind it are right: rank 3")


# ---------------------------------------------------------------------- 03.11
@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "is 6.00 × what micro-batch 5 alone gives: nothing of the others is in it"),
        ("set", "is 1.00 × what micro-batch 5 alone gives: nothing of the others is in it"),
        ("input_late", "is what comes out if every W takes the input of micro-batch 5"),
        ("gradient_late", "is what comes out if every W takes the gradient of micro-batch 5"),
        ("transposed", "is serial's, transposed"),
        ("twice", "is 2.00 × serial's"),
        ("never", "is zero: no W has run"),
    ],
)
def test_wrong_weight_gradients(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "03.11", version)
    assert card.sentence == f"the weight's gradient on rank 0 {said}", card
    too = "something is wrong with it on ranks 1, 2, 3, too; the gradients of the inputs are right, on every rank"
    assert card.lines == (too,)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("weight_transposed", "rank 3 hands on a gradient of micro-batch 0's input that is not serial's"),
        ("input_factor", "rank 3 hands on a gradient of micro-batch 0's input that is not serial's: it is 0.17 × ser"),
        ("first_is_left", "rank 3 hands on a gradient of micro-batch 0's input that is not serial's: it is zero"),
        ("no_gradient", "rank 3 raised ValueError: leave(0, ...) was given the shape [12], and "),
        ("keeps_it", "rank 2 is in recv #"),
        ("one_rank", "the weight's gradient on rank 1 lacks what micro-batch 0 adds"),
    ],
)
def test_wrong_input_gradients_and_one_rank(ranks4, version: str, said: str) -> None:
    assert_told(ranks4, "03.11", version, said)


# ---------------------------------------------------------------------- 03.12
OWN = {"tokens.weight on rank 0": "embedding", "head.weight on rank 3": "logits"}
OTHER = {"embedding": "logits", "logits": "embedding"}


def own_only(name: str) -> str:
    here = OWN[name]
    return f"{name} has only its own part of the gradient, that of the {here}: the part of the {OTHER[here]} is missing"


def other_only(name: str) -> str:
    return f"{name} has only the other part of the gradient, that of the {OTHER[OWN[name]]}: its own is lost"


FIRST, LAST = OWN


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", [own_only(LAST)]),
        ("nobody", [own_only(FIRST), own_only(LAST)]),
        ("copied", [other_only(FIRST), own_only(LAST)]),
        ("swapped", [other_only(FIRST), other_only(LAST)]),
        ("mean", [f"{name} has 0.50 × serial's gradient" for name in OWN]),
        ("dropped", [f"{name} has no gradient left" for name in OWN]),
        ("strange", [f"{name} has a gradient that is no sum of the two parts" for name in OWN]),
        (
            "weights_too",
            ["the gradient of positions.weight on rank 0 has changed, and only the tied weight is on two ranks"],
        ),
    ],
)
def test_wrong_tied_gradients(ranks4, version: str, said: list[str]) -> None:
    card = judged(ranks4, "03.12", version)
    drift = [line for line in card.lines if line.startswith("after one update with learning rate 0.5 the two copies")]
    assert [card.sentence, *card.lines] == [*said, *drift]
    assert bool(drift) == (version in ("planted", "nobody", "swapped"))


# ---------------------------------------------------------------------- 03.14
@pytest.mark.parametrize(
    ("version", "said", "line"),
    [
        (
            "gpipe",
            "with 6 micro-batches rank 0 holds the activations of 6 micro-batches at once, and 1F1B holds at most 4",
            "all 6 forwards run before its first backward: that is GPipe's order",
        ),
        (
            "one_more",
            "with 6 micro-batches rank 0 holds the activations of 5 micro-batches at once, and 1F1B holds at most 4",
            "it runs 5 forwards before its first backward",
        ),
        (
            "no_warm_up",
            "with 6 micro-batches rank 0 runs BW0 as op 2, and 1F1B has F1 there",
            "it holds 1 of the 4 micro-batches that it may hold",
        ),
        ("sends_zeros", "with 6 micro-batches gradients on rank 2 are not serial's: blocks.2.", "behind it are right"),
        ("sends_ones", "with 6 micro-batches gradients on rank 3 are not serial's: ", "none is right on any rank"),
    ],
)
def test_loops_of_another_order_or_with_other_gradients(ranks4, version: str, said: str, line: str) -> None:
    card = judged(ranks4, "03.14", version)
    assert card.state == "wrong" and card.sentence.startswith(said), card
    assert card.lines[0].startswith(line)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("no_input", r"ValueError: forward\(0, ...\) was given NoneType, and needs a tensor \[3, 8, 12\]"),
        ("newest_first", r"ValueError: backward\(\d, ...\) needs the activations of micro-batch \d: its "),
        ("twice", r"ValueError: forward\(0\) runs a second time"),
        ("few", r"ValueError: forward\(2, ...\): there are 2 micro-batches, counted from 0"),
    ],
)
def test_loops_that_raise(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "03.14", version)
    assert card.state == "wrong" and re.match(rf"ranks? \S+ raised {said}", card.sentence), card


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("blocking", r"ranks 2-3 wait for each other in a circle: rank 2 in send #\d+ to rank 3 \(line "),
        ("wrong_way", r"ranks 0-1 wait for each other in a circle: rank 0 in recv #\d+ from rank 1 \(line "),
        ("no_cool_down", r"rank \d is in .* \(line "),
    ],
)
def test_loops_that_deadlock_are_told_who_waits_for_whom(ranks4, version: str, said: str) -> None:
    """Blocking sends in the steady part, a warm-up the wrong way round, and gradients that are never received."""
    card = judged(ranks4, "03.14", version)
    assert card.state == "wrong" and re.match(said, card.sentence), card
    assert judged(ranks4, "03.14", "mended").right


def test_the_solution_shows_a_version_that_is_right() -> None:
    assert all(line in repr(solution("03.14")) for line in cells.LOOP["mended"].splitlines())
