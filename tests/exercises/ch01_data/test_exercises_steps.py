"""Exercises 01.2 and 01.7 to 01.9 on real ranks: right, stubs, and what people write instead, with its sentence."""

from __future__ import annotations

import exercise_cells_steps as cells
import exercise_runs
import pytest

from lab_utils.exercises import check
from lab_utils.exercises.ch01_data.judge_gradients import sizes_of
from lab_utils.exercises.ch01_data.numbers import BACKWARD_MS, exposed_ms

VERSIONS = {"01.7": cells.ACCUMULATE, "01.8": cells.ORDER, "01.9": cells.GRADIENTS}


def source(exercise: str, version: str) -> str:
    return cells.IMPORTS + VERSIONS[exercise][version]


def judged(ranks, exercise: str, version: str):
    return exercise_runs.judged(ranks, exercise, source(exercise, version))


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("01.7", "mended"),
        ("01.7", "divided_after"),
        ("01.7", "the_lab_s"),
        ("01.8", "mended"),
        ("01.8", "a_list"),
        ("01.8", "numpy"),
        ("01.8", "seeds_torch"),
        ("01.9", "mended"),
        ("01.9", "the_lab_s"),
        ("01.9", "sums"),
    ],
)
def test_right_versions(ranks4, name: str, version: str) -> None:
    exercise_runs.assert_right(ranks4, name, source(name, version))


@pytest.mark.parametrize(
    ("name", "version"),
    [("01.7", "stub"), ("01.7", "dots"), ("01.8", "stub"), ("01.8", "dots"), ("01.9", "stub"), ("01.9", "pass")],
)
def test_stubs_are_not_answered_yet(ranks4, name: str, version: str) -> None:
    exercise_runs.assert_open(ranks4, name, source(name, version))


# ---------------------------------------------------------------------- 01.7
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "planted",
            "gradients are 2.00 × serial: they add up over 2 micro-batches, and nothing divides by that number",
        ),
        ("sum_over_ranks", "gradients are 4.00 × serial: a sum over 4 ranks where a mean belongs"),
        (
            "two_sums",
            "gradients are 8.00 × serial: a sum over 2 micro-batches of each of 4 ranks, and nothing divides it",
        ),
        ("divided_twice", "gradients are 0.50 × serial: divided by the number of micro-batches once too often"),
        ("ranks_twice", "gradients are 0.25 × serial: divided by the number of ranks once too often"),
        ("by_five", "gradients are 0.40 × serial"),
        ("last_only", "gradients are those of the last micro-batch alone: the earlier ones are lost"),
    ],
)
def test_accumulated_by_a_factor(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.7", version)
    assert card.state == "wrong" and card.sentence == said
    assert card.lines == ("tokens.weight's is, and so are the 18 others, on every rank",)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("first_left_out", "gradients differ from serial by "),
        ("alone", "every rank has only the gradients of its own micro-batches"),
        ("every_time", "the gradients are right, but aggregated 2 times: once per step suffices"),
        ("no_gradient", "rank 0 has no gradient of tokens.weight: backward has to leave one"),
    ],
)
def test_accumulated_otherwise(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.7", version)
    assert card.state == "wrong" and card.sentence.startswith(said), card


def test_the_factor_is_that_of_the_micro_batches(ranks2) -> None:
    assert judged(ranks2, "01.7", "planted").sentence.startswith(
        "gradients are 4.00 × serial: they add up over 4 micro"
    )
    assert judged(ranks2, "01.7", "sum_over_ranks").sentence.startswith(
        "gradients are 2.00 × serial: a sum over 2 ranks"
    )
    assert judged(ranks2, "01.7", "mended").right


def test_the_lab_s_own_files_are_not_named(ranks4) -> None:
    card = judged(ranks4, "01.7", "too_few")
    assert "takes 1 positional argument but 2 were given" in card.sentence and ".py" not in repr(card)


# ---------------------------------------------------------------------- 01.8
@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "in epoch 0 14 of 40 blocks are not read, 12 are read by several ranks"),
        ("not_cut", "every rank reads all 40 blocks in epoch 0: nothing is shared out"),
        ("all_the_same", "in epoch 0 30 of 40 blocks are not read, 10 are read by several ranks"),
        ("short", "in epoch 0 4 of 40 blocks are not read, 0 are read by several ranks"),
        (
            "uneven",
            "the ranks have 4, 12, 12, 12 blocks in epoch 0: ranks with fewer finish first and wait for the others",
        ),
        ("same_epochs", "epoch 1 has the order of epoch 0, on every rank: every batch is the same again"),
        ("unseeded", "rank 0 was asked twice for the same epoch and gave two orders"),
        ("from_one", "rank "),
        ("twice", "rank 0 reads block "),
        ("nothing", "NoneType came back on rank 0: return the numbers of this rank's blocks, in order"),
        ("fractions", "Tensor came back on rank 0"),
    ],
)
def test_wrong_orders(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.8", version)
    assert card.state == "wrong" and card.sentence.startswith(said), card


def test_the_planted_order_names_blocks_and_ranks(ranks4) -> None:
    several, nobody = judged(ranks4, "01.8", "planted").lines
    orders = [order.tolist() for order in ranks4.run("my_order", 40, 0)]
    block = min(number for number in range(40) if sum(number in order for order in orders) > 1)
    readers = ", ".join(str(rank) for rank, order in enumerate(orders) if block in order)
    assert several.startswith(f"read by several: block {block} by ranks {readers}; ")
    assert nobody.startswith(f"not read: blocks {min(set(range(40)) - {n for order in orders for n in order})}, ")


# ---------------------------------------------------------------------- 01.9
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "planted",
            "gradients are the mean of the shards' means: rank 0 has 1 of 16 blocks and rank 3 has 7, and they",
        ),
        ("even", "gradients are the mean of the shards' means: "),
        ("sum_of_means", "gradients are 4.00 × the mean of the shards' means: "),
        ("without_n", "gradients are 0.25 × serial: a block weighs 0.25/16 in them, and 1/16 in serial"),
        ("not_divided", "gradients are 4.00 × serial: a block weighs 4.00/16 in them, and 1/16 in serial"),
        ("alone", "every rank has only the gradients of its own shard"),
        ("one_tensor", "gradients differ from serial by 2 relative, most of all norm.weight on rank 0"),
        ("no_gradient", "rank 0 has no gradient of tokens.weight"),
    ],
)
def test_weighed_wrongly(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.9", version)
    assert card.state == "wrong" and card.sentence.startswith(said), card


def test_uneven_shards_on_other_numbers_of_ranks(ranks2) -> None:
    assert sizes_of(4) == [1, 3, 5, 7] and sizes_of(2) == [4, 12] and min(sizes_of(8)) == 1 and sum(sizes_of(8)) == 16
    assert judged(ranks2, "01.9", "planted").state == "wrong"
    assert judged(ranks2, "01.9", "mended").right


# ---------------------------------------------------------------------- 01.2
def test_exposed_communication_of_buckets() -> None:
    """By hand: a bucket is full at 20, 40, 60 and 80 ms."""
    assert exposed_ms(12) == 12 and exposed_ms(20) == 20 and exposed_ms(30) == 20 + 4 * 30 - BACKWARD_MS == 60
    assert exposed_ms(12, buckets=1) == 12 and exposed_ms(48, buckets=1) == 48
    assert check("01.2", 48, 12, 60).right and check("01.2", 48, 0, 60).sentence.startswith("four buckets: too small: ")
