"""Exercise 01.17 on real ranks: right, stubs, and what people write instead, with its sentence."""

from __future__ import annotations

import pytest
from exercise_cells_tokens import IMPORTS, TOKENS
from exercise_runs import assert_open, assert_right, judged

from lab_utils.exercises import solution


@pytest.mark.parametrize("version", ["sums", "one_by_one", "means", "guarded"])
def test_right_versions(ranks4, version: str) -> None:
    assert_right(ranks4, "01.17", IMPORTS + TOKENS[version])


def test_the_code_of_the_solution_is_right(ranks4) -> None:
    assert_right(ranks4, "01.17", IMPORTS + "\n".join(solution("01.17").lines[1:]) + "\n")


@pytest.mark.parametrize("version", ["stub", "pass"])
def test_stubs_are_not_answered_yet(ranks4, version: str) -> None:
    assert_open(ranks4, "01.17", IMPORTS + TOKENS[version])


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "mean_of_means",
            "gradients are 1.00 × the mean of the ranks' means: rank 0 has 8 of 60 tokens and rank 3 has 14, and they",
        ),
        ("sum_of_means", "gradients are 4.00 × the mean of the ranks' means: "),
        ("by_blocks", "gradients are 1.00 × a mean in which each rank weighs by its blocks, padding included"),
        ("by_positions", "gradients are 1.00 × a mean in which each rank weighs by its blocks, padding included"),
        ("with_padding", "gradients are 0.47 × serial: divided by all 128 positions of the batch, 68 of which are"),
        ("without_n", "gradients are 0.25 × serial: the ranks' weights add up to 1, and the mean over 4 ranks"),
        ("n_twice", "gradients are 4.00 × serial: a sum where a mean belongs"),
        ("alone", "every rank has only the gradients of its own tokens"),
        ("one_tensor", "gradients differ from serial by 2 relative, most of all norm.weight on rank 0"),
        ("no_gradient", "rank 0 has no gradient of tokens.weight"),
        ("leaves", "ranks 0-2 are in all_reduce "),
        ("zero_left_out", "gradients differ from serial by "),
    ],
)
def test_weighed_wrongly(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.17", IMPORTS + TOKENS[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card


def test_what_is_wrong_only_with_an_empty_rank_is_said_to_be_so(ranks4) -> None:
    card = judged(ranks4, "01.17", IMPORTS + TOKENS["zero_left_out"])
    assert card.lines == ("so with no tokens on rank 3; with tokens on every rank the gradients are right",)


def test_padded_texts_on_two_ranks(ranks2) -> None:
    assert judged(ranks2, "01.17", IMPORTS + TOKENS["sums"]).right
    assert judged(ranks2, "01.17", IMPORTS + TOKENS["by_blocks"]).state == "wrong"
