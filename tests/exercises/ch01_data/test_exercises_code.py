"""The code exercises on real ranks: missing, stub, right, and wrong in the ways that people go wrong."""

from __future__ import annotations

import exercise_cells as cells
import pytest

from lab_utils.exercises import check, solution
from lab_utils.ranks.calls.cell_names import Cell
from lab_utils.ranks.on_rank import entry_points

CODE = {
    "00.4": "my_all_gather",
    "00.5": "ring_all_gather",
    "00.7": "swap",
    "00.8": "total",
    "01.3": "step",
    "01.4": "replicate",
    "01.5": "my_shard",
    "01.11": "my_zero1",
    "01.15": "my_compress",
    "01.12": "my_clip",
    "03.9": "my_step",
    "03.10": "my_run",
    "03.11": "my_backward",
    "03.12": "my_tied",
}


def define(ranks, source: str) -> None:
    """As a %%ranks cell does."""
    ranks.call(entry_points.run_cell, Cell("cell.py", "In [1]", "\n" + cells.IMPORTS + source))


def judged(ranks, exercise: str, source: str):
    define(ranks, source)
    return check(exercise, ranks, CODE[exercise])


# ---------------------------------------------------------------------- code: stuck
@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("00.7", cells.SWAP["planted"], "wait for each other in a circle: rank 0 in recv #0 from rank 1"),
        ("00.7", cells.SWAP["itself"], "rank 0 should have rank 1's tensor [10, 11, 12], and it returned [0, 1, 2]"),
        ("00.7", cells.SWAP["nothing"], "rank 0 returned NoneType, and not its partner's tensor"),
        ("00.8", cells.TOTAL["planted"], "rank 3 returned without making it"),
        ("00.8", cells.TOTAL["own"], "all batches of all ranks add up to 320, and rank 0 returned"),
    ],
)
def test_programs_that_get_stuck(ranks4, name: str, source: str, said: str) -> None:
    ranks4._must_form = True  # so that messages count from 0
    card = judged(ranks4, name, source)
    assert card.state == "wrong" and said in str(card)


# ---------------------------------------------------------------------- code: gathering
@pytest.mark.parametrize("name", CODE)
def test_a_function_that_is_not_there_is_not_answered_yet(ranks4, name: str) -> None:
    card = check(name, ranks4, "not_there")
    assert card.state == "open"
    assert card.lines[0] == "not_there is no function on ranks 0-3: run the %%ranks cell that defines it"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("00.4", cells.MY_ALL_GATHER["stub"]),
        ("00.4", cells.MY_ALL_GATHER["dots"]),
        ("00.4", cells.MY_ALL_GATHER["documented"]),
        ("01.3", cells.STEP["stub"]),
        ("01.4", cells.REPLICATE["stub"]),
        ("01.4", cells.REPLICATE["dots"]),
        ("01.4", cells.REPLICATE["pass"]),
        ("01.5", cells.SHARD["stub"]),
        ("01.5", cells.SHARD["dots"]),
    ],
)
def test_stubs_are_not_answered_yet(ranks4, name: str, source: str) -> None:
    assert judged(ranks4, name, source) == check(name, ...)
    assert judged(ranks4, name, source) == check(name, ...)  # the ranks were cut off and have joined again


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("00.4", cells.MY_ALL_GATHER["right"]),
        ("00.5", cells.RING_MENDED),
        ("00.7", cells.SWAP["isend"]),
        ("00.7", cells.SWAP["in_turn"]),
        ("00.8", cells.TOTAL["mended"]),
        ("01.3", cells.STEP["mended"]),
        ("01.3", cells.STEP["divided"]),
        ("01.4", cells.REPLICATE["mended"]),
        ("01.4", cells.REPLICATE["common_seed"]),
        ("01.5", cells.SHARD["mended"]),
        ("01.5", cells.SHARD["by_hand"]),
    ],
)
def test_right_code(ranks4, name: str, source: str) -> None:
    card = judged(ranks4, name, source)
    assert card.right, card
    assert card == solution(name)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "reversed",
            "on rank 0 entry 0 should be rank 0's tensor [1, 2, 3], and is [301, 302, 303]",
        ),
        ("short", "rank 0 returned 1 entries, and there are 4 ranks"),
        ("nothing", "rank 0 returned NoneType, and not a tensor or a list of tensors"),
        ("flat", "rank 0 returned shape [3], and 4 tensors of [3] have the shape [4, 3]"),
        ("changes_x", "rank 0's own x has changed: it was [1, 2, 3] and is [0, 0, 0]; leave it as it is"),
        ("collective", "the values are right, but all_gather did the work: use send and receive only"),
        ("raises", "rank 2 raised ValueError: no more (In [1]:8)"),
    ],
)
def test_wrong_all_gathers(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "00.4", cells.MY_ALL_GATHER[version])
    assert card.state == "wrong" and card.sentence.removesuffix(", which is rank 3's") == said
    assert judged(ranks4, "00.4", cells.MY_ALL_GATHER[version]) == card


def test_the_lab_s_own_files_are_not_named(ranks4) -> None:
    card = judged(ranks4, "00.4", cells.MY_ALL_GATHER["two_arguments"])
    assert "missing 1 required positional argument" in card.sentence and ".py" not in repr(card)


def test_a_function_of_the_notebook_itself_can_be_checked(ranks4) -> None:
    assert check("00.4", ranks4, lambda x: [x]).sentence == "rank 0 returned 1 entries, and there are 4 ranks"


def test_code_that_hangs_says_who_waits_for_whom(ranks2) -> None:
    card = judged(ranks2, "00.4", cells.MY_ALL_GATHER["hangs"])
    assert card.state == "wrong" and "wait for each other in a circle: rank 0 in recv" in card.sentence
    assert judged(ranks2, "00.4", cells.MY_ALL_GATHER["right"]).right


def test_the_planted_ring_sends_its_own_chunk_again(ranks4) -> None:
    card = judged(ranks4, "00.5", cells.RING_PLANTED)
    assert card.state == "wrong" and card.sentence == (
        "on rank 0 entry 1 should be rank 1's tensor [101, 102, 103], and is [301, 302, 303], which is rank 3's"
    )


# ---------------------------------------------------------------------- code: training
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
    card = judged(ranks4, "01.3", cells.STEP[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version in ("planted", "twice_divided"):
        assert card.lines == ("so are all 19 of them, on every rank",)
    elif version not in ("no_loss", "zeroed_after"):
        assert card.lines[0].startswith("✗ no parity: ") and " on rank " in card.lines[0]


def test_the_factor_is_that_of_the_ranks(ranks2) -> None:
    card = judged(ranks2, "01.3", cells.STEP["planted"])
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
    card = judged(ranks4, "01.4", cells.REPLICATE[version])
    assert card.state == "wrong" and card.sentence.startswith(start) and " on rank 1 is not rank 0's" in card.sentence
    assert card.lines[0].startswith(f"{tensors} of ") and "✗ no parity" in card.lines[1]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "all 4 ranks read the same blocks "),
        ("whole", "all 4 ranks read the whole batch in step 0: right gradients, but nothing is shared out"),
        ("overlap", "block "),
        ("other_batch", "the ranks read blocks that are not in the batch in step 0, such as "),
        ("half", "8 of the batch's 16 blocks are read by nobody in step 0"),
        ("uneven", "the shards have 1, 3, 4, 8 blocks in step 0: the mean of their means is not the batch's mean"),
        ("empty", "rank 0 reads nothing in step 0"),
        ("numbers", "ndarray came back on rank 0: return Blocks, such as blocks[numbers]"),
        ("strange", "rank 0 reads rows that are no block in step 0"),
    ],
)
def test_wrong_shards(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "01.5", cells.SHARD[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version in ("planted", "overlap", "other_batch", "half", "uneven"):
        assert card.lines[0].startswith("after one right step: ✗ no parity"), card
    if version in ("planted", "overlap"):
        missing = {"planted": 12, "overlap": 8}[version]
        assert f"{missing} of the batch's 16 blocks are read by nobody" in card.sentence


def test_checks_leave_the_reader_s_random_numbers_alone(ranks4) -> None:
    define(ranks4, cells.STEP["mended"] + cells.SEEDED)
    assert check("01.3", ranks4, "step").right
    assert ranks4.run("goes_on_as_if_nothing_had_been") == [True] * 4
