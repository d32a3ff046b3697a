"""The exercises of chapters 01d and 01e: error feedback broken in several ways, bytes and staleness by numbers."""

from __future__ import annotations

import exercise_cells_wire as cells
import exercise_runs
import pytest
from exercise_cells import IMPORTS

from lab_utils.exercises import check, solution

P = 1000


def source(version: str) -> str:
    return IMPORTS + cells.COMPRESS[version]


def judged(ranks, version: str):
    return exercise_runs.judged(ranks, "01.15", source(version))


# ---------------------------------------------------------------------- 01.15
@pytest.mark.parametrize("version", ["stub", "dots"])
def test_stubs_are_not_answered_yet(ranks4, version: str) -> None:
    exercise_runs.assert_open(ranks4, "01.15", source(version))


@pytest.mark.parametrize("version", ["mended", "by_mask"])
def test_right_compressors(ranks4, version: str) -> None:
    exercise_runs.assert_right(ranks4, "01.15", source(version))


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "tokens.weight on rank 0, step 1: what was kept before this step is gone"),
        ("one_rank", "tokens.weight on rank 2, step 1: what was kept before this step is gone"),
        ("one_tensor", "blocks.0.norm1.weight on rank 0, step 1: what was kept before this step is gone"),
        ("drops", "tokens.weight on rank 0, step 0: what is not sent is not kept either"),
        ("twice", "tokens.weight on rank 0, step 1: what was kept before this step counts twice"),
        ("keeps_all", "tokens.weight on rank 0, step 0: what is sent is kept as well, and will be sent again"),
        ("sign", "tokens.weight on rank 0, step 0: what is kept has the wrong sign"),
        ("halves", "tokens.weight on rank 0, step 0: sent and kept together are not the gradient and what was kept"),
        ("everything", "tokens.weight on rank 0, step 0: 276 entries are sent, and k is 27"),
        ("one", "tokens.weight on rank 0, step 0: 1 of k = 27 entries are sent"),
        ("smallest", "tokens.weight on rank 0, step 0: it keeps entries that are larger than some that it sends"),
        ("of_the_gradient", "tokens.weight on rank 0, step 1: it keeps entries that are larger than some that it"),
        ("only_sent", "Tensor came back for tokens.weight on rank 0: return sent, kept"),
        ("list", "a list in the pair came back for tokens.weight on rank 0"),
        ("flat", "shape [276] in the pair came back for tokens.weight on rank 0"),
    ],
)
def test_wrong_compressors(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, version)
    assert card.state == "wrong" and card.sentence.startswith(said), card
    assert judged(ranks4, version) == card


@pytest.mark.parametrize(("version", "tensors"), [("planted", 76), ("one_rank", 19), ("drops", 76)])
def test_how_much_is_lost_is_said(ranks4, version: str, tensors: int) -> None:
    counted, invariant = judged(ranks4, version).lines
    assert counted.startswith(f"so in {tensors} of 76 tensors of all ranks")
    assert invariant.startswith("sent so far plus kept differs from the sum of all gradients by ")


def test_nothing_is_lost_where_only_the_choice_is_wrong(ranks4) -> None:
    assert len(judged(ranks4, "smallest").lines) == 1


# ---------------------------------------------------------------------- numbers
@pytest.mark.parametrize(("ranks", "right"), [(2, 16 * P), (4, 48 * P), (64, 126 * 8 * P)])
def test_bytes_over_the_servers_link(ranks: int, right: int) -> None:
    assert check("01.13", right, ranks=ranks, parameters=P).right
    assert check("01.13", right + (ranks - 1) * 16, ranks=ranks, parameters=P).right  # the notes as well
    assert f"= {right:,} bytes" in solution("01.13", ranks=ranks, parameters=P).sentence


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((4, 2, 1 / 9), "the slow worker's staleness: too small: that is what one of the two fast workers does"),
        ((8, 1, 1 / 9), "a fast worker's largest staleness: too small: that is so in most steps"),
        ((8, 2, 1 / 3), "the slow worker's part of the updates: too large: that is what it has where all wait"),
        ((8, 2, 100 / 9), "the slow worker's part of the updates: too large: give a fraction between 0 and 1"),
    ],
)
def test_wrong_staleness(answers: tuple, said: str) -> None:
    assert check("01.14", *answers).sentence.startswith(said)
