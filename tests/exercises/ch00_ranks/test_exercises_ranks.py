"""Chapter 00's code exercises on real ranks: missing, stub, right, and wrong in the ways that people go wrong."""

from __future__ import annotations

import exercise_cells_ranks as cells
import pytest
from exercise_runs import FUNCTIONS, assert_open, assert_right, judged

from lab_utils.exercises import check, solution


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
    card = judged(ranks4, name, cells.IMPORTS + source)
    assert card.state == "wrong" and said in str(card)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_is_not_there_is_not_answered_yet(ranks4, name: str) -> None:
    card = check(name, ranks4, "not_there")
    assert card.state == "open"
    assert card.lines[0] == "not_there is not a function on ranks 0-3: run the %%ranks cell that defines it"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("00.4", cells.MY_ALL_GATHER["stub"]),
        ("00.4", cells.MY_ALL_GATHER["dots"]),
        ("00.4", cells.MY_ALL_GATHER["documented"]),
    ],
)
def test_stubs_are_not_answered_yet(ranks4, name: str, source: str) -> None:
    assert_open(ranks4, name, cells.IMPORTS + source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("00.4", cells.MY_ALL_GATHER["right"]),
        ("00.5", cells.RING_MENDED),
        ("00.7", cells.SWAP["isend"]),
        ("00.7", cells.SWAP["in_turn"]),
        ("00.8", cells.TOTAL["mended"]),
    ],
)
def test_right_code(ranks4, name: str, source: str) -> None:
    assert_right(ranks4, name, cells.IMPORTS + source)


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
    card = judged(ranks4, "00.4", cells.IMPORTS + cells.MY_ALL_GATHER[version])
    assert card.state == "wrong" and card.sentence.removesuffix(", which is rank 3's") == said
    assert judged(ranks4, "00.4", cells.IMPORTS + cells.MY_ALL_GATHER[version]) == card


def test_the_lab_s_own_files_are_not_named(ranks4) -> None:
    card = judged(ranks4, "00.4", cells.IMPORTS + cells.MY_ALL_GATHER["two_arguments"])
    assert "missing 1 required positional argument" in card.sentence and ".py" not in repr(card)


def test_a_function_of_the_notebook_itself_can_be_checked(ranks4) -> None:
    assert check("00.4", ranks4, lambda x: [x]).sentence == "rank 0 returned 1 entries, and there are 4 ranks"


def test_code_that_hangs_says_who_waits_for_whom(ranks2) -> None:
    card = judged(ranks2, "00.4", cells.IMPORTS + cells.MY_ALL_GATHER["hangs"])
    assert card.state == "wrong" and "wait for each other in a circle: rank 0 in recv" in card.sentence
    assert judged(ranks2, "00.4", cells.IMPORTS + cells.MY_ALL_GATHER["right"]).right


def test_the_planted_ring_sends_its_own_chunk_again(ranks4) -> None:
    card = judged(ranks4, "00.5", cells.IMPORTS + cells.RING_PLANTED)
    assert card.state == "wrong" and card.sentence == (
        "on rank 0 entry 1 should be rank 1's tensor [101, 102, 103], and is [301, 302, 303], which is rank 3's"
    )


def test_a_reduce_scatter_that_is_right_or_not_written_yet(ranks4) -> None:
    assert_open(ranks4, "00.9", cells.IMPORTS + cells.REDUCE_SCATTER["stub"])
    assert_right(ranks4, "00.9", cells.IMPORTS + cells.REDUCE_SCATTER["right"])


@pytest.mark.parametrize(("name", "versions"), [("00.4", cells.MY_ALL_GATHER), ("00.9", cells.REDUCE_SCATTER)])
def test_the_reference_solution_is_the_version_that_is_right(name: str, versions: dict[str, str]) -> None:
    source = "\n".join(line for line in solution(name).lines if line.startswith(("def ", " ")))
    assert source == versions["right"].strip()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("nothing", "rank 0 returned NoneType, and not a tensor"),
        ("all_rows", "rank 0 returned shape [4, 3]: that is all rows, and it should return its own, of shape [3]"),
        ("one_number", "rank 0 returned shape [], and its row of the sum has shape [3]"),
        ("own_row", "rank 0 returned row 0 without the part of ranks 1-3"),
        ("starts_with_its_own", "rank 0 returned row 1 of the sum: row 0 is its own"),
        ("one_round_too_few", "rank 0 returned row 1 without the part of rank 1"),
        ("forgets_to_add", "rank 0 returned row 0 without the part of ranks 0, 2-3"),
        ("adds_twice", "rank 0 returned row 0 with the part of ranks 0, 2-3 more than once"),
        ("infinite", "rank 0 should return [1111, 2222, 3333], and returned [inf, inf, inf]"),
        ("mean", "rank 0 should return [1111, 2222, 3333], and returned [277.8, 555.5, 833.2]"),
        ("changes_x", "rank 0's own x has changed: it was [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] and is "),
        ("collective", "the values are right, but reduce_scatter did the work: use send and receive only"),
        ("sliced", "rank 0 sent 144 bytes, and (n - 1) / n of the tensor is 72: that is an all-reduce, of which each"),
        (
            "whole_tensor",
            "rank 0 sent 288 bytes, and (n - 1) / n of the tensor is 72: that is the whole tensor in each",
        ),
        ("direct", "rank 0 sends to rank 2: in a ring each rank sends to its right neighbour only, here rank 1"),
        ("blocking", "wait for each other in a circle: rank 0 in recv"),
    ],
)
def test_wrong_reduce_scatters(ranks4, version: str, said: str) -> None:
    card = judged(ranks4, "00.9", cells.IMPORTS + cells.REDUCE_SCATTER[version])
    assert card.state == "wrong" and said in card.sentence, card
