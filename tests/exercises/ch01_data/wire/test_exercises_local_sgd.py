"""Exercise 01.20: local SGD, right in two ways and wrong in many, each named."""

from __future__ import annotations

import pytest
from exercise_cells import IMPORTS
from exercise_cells_local_sgd import LOCAL_SGD, SOLUTION
from exercise_runs import assert_open, assert_right, judged

from lab_utils.exercises import solution

OTHER = "parameters are those of another algorithm: "


@pytest.mark.parametrize("version", ["stub", "dots"])
def test_stubs_are_not_answered_yet(ranks4, version: str) -> None:
    assert_open(ranks4, "01.20", IMPORTS + LOCAL_SGD[version])


@pytest.mark.parametrize("version", ["right", "in_one_message"])
def test_right_versions(ranks4, version: str) -> None:
    assert_right(ranks4, "01.20", IMPORTS + LOCAL_SGD[version])


def test_the_solution_shows_the_code() -> None:
    assert "\n".join(f"  {line}" for line in SOLUTION.strip().splitlines()) in repr(solution("01.20"))


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("gradients", OTHER + "every 3 steps the gradients are averaged, and never the parameters"),
        ("each_step", OTHER + "parameters, or gradients, are averaged after every step, not after every 3"),
        ("gradients_each_step", OTHER + "parameters, or gradients, are averaged after every step"),
        ("unfinished", OTHER + "the last, incomplete round is missing: 7 steps with every=3 leave 1 over"),
        ("counted_from_0", OTHER + "the rounds come too early: after steps 1 and 4, not after steps 3 and 6"),
        ("divided_twice", OTHER + "the mean is divided by the number of ranks once more"),
        ("summed", OTHER + "the parameters are summed over the ranks and not divided"),
        ("reset", OTHER + "the optimizer's state is reset at each round"),
        ("averaged_state", OTHER + "the optimizer's state is averaged, too"),
        ("alone", OTHER + "the ranks never average: each trained alone"),
        ("untrained", "the parameters are those of the start: nothing was trained"),
        ("one_tensor", "after the last round the ranks have unequal parameters: tokens.weight on rank "),
        ("piles_up", "blocks."),
    ],
)
def test_wrong_versions(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.20", IMPORTS + LOCAL_SGD[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version != "untrained":
        assert " differs from the serial simulation by " in repr(card)


def test_a_round_on_one_rank_only_is_said(ranks4) -> None:
    card = judged(ranks4, "01.20", IMPORTS + LOCAL_SGD["rank_0_only"])
    assert card.state == "wrong" and "rank 0" in repr(card) and "all_reduce" in repr(card)
