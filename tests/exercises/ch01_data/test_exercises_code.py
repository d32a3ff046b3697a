"""Exercises 01.3 to 01.5 on real ranks: stub, right, and wrong in the ways that people go wrong."""

from __future__ import annotations

import exercise_cells as cells
import pytest
from exercise_runs import assert_open, assert_right, define, judged

from lab_utils.exercises import check


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("01.3", cells.STEP["stub"]),
        ("01.4", cells.REPLICATE["stub"]),
        ("01.4", cells.REPLICATE["dots"]),
        ("01.4", cells.REPLICATE["pass"]),
        ("01.5", cells.SHARD["stub"]),
        ("01.5", cells.SHARD["dots"]),
    ],
)
def test_stubs_are_not_answered_yet(ranks4, name: str, source: str) -> None:
    assert_open(ranks4, name, cells.IMPORTS + source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("01.3", cells.STEP["mended"]),
        ("01.3", cells.STEP["divided"]),
        ("01.4", cells.REPLICATE["mended"]),
        ("01.4", cells.REPLICATE["common_seed"]),
        ("01.5", cells.SHARD["mended"]),
        ("01.5", cells.SHARD["by_hand"]),
    ],
)
def test_right_code(ranks4, name: str, source: str) -> None:
    assert_right(ranks4, name, cells.IMPORTS + source)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "gradients are 4.00 × serial: a sum where a mean belongs"),
        ("twice_divided", "gradients are 0.25 × serial: divided by the number of ranks once too often"),
        ("alone", "every rank has only the gradients of its own shard"),
        ("late", "gradients equal serial and parameters do not"),
        ("piles_up", "the first step equals serial and the second does not"),
        ("one_tensor", "the gradient of norm.weight on rank 3 differs most from serial: it is 3.00 × serial's"),
        ("no_loss", "NoneType came back on rank 0: return the loss"),
        ("wrong_loss", "gradients and parameters equal serial, the loss is 4.00 × serial's"),
        ("zeroed_after", "rank 0 has no gradient of "),
    ],
)
def test_wrong_steps(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.3", cells.IMPORTS + cells.STEP[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version in ("planted", "twice_divided"):
        assert card.lines == ("so are all 19 of them, on every rank",)
    elif version not in ("no_loss", "zeroed_after"):
        assert card.lines[0].startswith("✗ no parity: ") and " on rank " in card.lines[0]


def test_the_factor_is_that_of_the_ranks(ranks2) -> None:
    card = judged(ranks2, "01.3", cells.IMPORTS + cells.STEP["planted"])
    assert card.sentence == "gradients are 2.00 × serial: a sum where a mean belongs"


@pytest.mark.parametrize(
    ("version", "start", "tensors"),
    [
        ("planted", "the replicas start with different weights: ", 8),
        ("nothing", "nothing has changed: the replicas keep different weights: ", 8),
        ("one_tensor", "the replicas start with different weights: ", 7),
    ],
)
def test_wrong_replicas(ranks4, version: str, start: str, tensors: int) -> None:
    card = judged(ranks4, "01.4", cells.IMPORTS + cells.REPLICATE[version])
    assert card.state == "wrong" and card.sentence.startswith(start) and " on rank 1 is not rank 0's" in card.sentence
    assert card.lines[0].startswith(f"{tensors} of ") and "✗ no parity" in card.lines[1]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "all 4 ranks read the same blocks "),
        ("whole", "all 4 ranks read the whole batch in step 0: right gradients, but nothing is shared out"),
        ("overlap", "block "),
        ("other_batch", "the ranks read blocks that are not in the batch in step 0, such as "),
        ("half", "no rank reads 8 of the batch's 16 blocks in step 0"),
        ("uneven", "the shards have 1, 3, 4, 8 blocks in step 0: the mean of their means is not the batch's mean"),
        ("empty", "rank 0 reads nothing in step 0"),
        ("numbers", "ndarray came back on rank 0: return Blocks, such as blocks[numbers]"),
        ("strange", "rank 0 reads rows that are no block in step 0"),
    ],
)
def test_wrong_shards(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.5", cells.IMPORTS + cells.SHARD[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version in ("planted", "overlap", "other_batch", "half", "uneven"):
        assert card.lines[0].startswith("after one right step: ✗ no parity"), card
    if version in ("planted", "overlap"):
        missing = {"planted": 12, "overlap": 8}[version]
        assert f"no rank reads {missing} of the batch's 16 blocks" in card.sentence


def test_checks_leave_the_reader_s_random_numbers_alone(ranks4) -> None:
    define(ranks4, cells.IMPORTS + cells.STEP["mended"] + cells.SEEDED)
    assert check("01.3", ranks4, "step").right
    assert ranks4.run("goes_on_as_if_nothing_had_been") == [True] * 4
