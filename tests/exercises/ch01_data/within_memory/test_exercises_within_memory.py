"""ZeRO-3 within a memory limit on real ranks: stub, right, and wrong in the ways that people go wrong."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from exercise_cells_within_memory import IMPORTS, RIGHT, STUB, WRONG
from exercise_runs import assert_open, assert_right, judged

from lab_utils import start_ranks
from lab_utils.exercises.ch01_data.within_memory.judge import judge_within_memory
from lab_utils.ranks import Ranks

OVER = "raised OutOfMemory: 3 layers' worth of whole tensors at once, and the limit is 2.5: "
TWO_OTHERS = "2 others (gradients, copies, the next gather)"
SAID = {
    "never_frees": f"{OVER}layer 0's weight, layer 1's weight and 1 other (a gradient, a copy, or the next",
    "frees_a_view": f"{OVER}layer 0's weight, layer 1's weight and 1 other",
    "gathers_all_first": f"{OVER}layer 0's weight, layer 1's weight and 1 other",
    "graph_of_all": f"{OVER}layer 0's weight, layer 1's weight and 1 other",
    "no_del": f"{OVER}layer 4's weight and {TWO_OTHERS}",
    "on_one_rank": f"rank 2 {OVER}layer 4's weight and {TWO_OTHERS}",
    "wrong_order": "the loss on rank 0 is that of weights whose rows come from the ranks in the order 3, 2, 1, 0: ",
    "own_rows_only": "the loss on rank 0 is ",
    "frees_before_use": "raised UsedAfterFree: a weight is used after its memory was freed",
    "no_gather": "the loss on rank 0 is not a number: a weight was read before it was filled",
    "no_scatter": "layer 4's gradient on rank 0 is still 0: its rows of the mean over ranks belong in piece.grad",
    "own_shard": "layer 4's gradient on rank 0 is that of its own shard alone",
    "summed": "layer 4's gradient on rank 0 is 4.00 × serial's: a sum over the ranks where a mean belongs",
    "next_rows": "layer 4's gradient on rank 0 is that of rank 1's rows",
    "no_tanh_back": "layer 4's gradient on rank 0 differs from serial's by ",
    "updates": "layer 0's piece has changed on rank 0: forward and backward only read it",
    "keeps_whole_gradients": f"{OVER}layer 3's weight and {TWO_OTHERS}",
    "left_whole": "after the step rank 0 still has layer 0's weight: free everything, the next step gathers again",
    "no_loss": "NoneType came back on rank 0: return the loss",
}


def test_a_stub_is_not_answered_yet(ranks4: Ranks) -> None:
    assert_open(ranks4, "01.18", IMPORTS + STUB)


@pytest.mark.parametrize("version", RIGHT)
def test_right_code(ranks4: Ranks, version: str) -> None:
    assert_right(ranks4, "01.18", IMPORTS + RIGHT[version])


@pytest.mark.parametrize("version", WRONG)
def test_wrong_code_is_told_what_is_wrong_and_where(ranks4: Ranks, version: str) -> None:
    card = judged(ranks4, "01.18", IMPORTS + WRONG[version])
    said, sentence = SAID[version], card.sentence
    if said.startswith("raised"):  # on all ranks; those that have not come to it yet are interrupted, and not named
        sentence = re.sub(r"^ranks? \S+ ", "", sentence)
    assert card.state == "wrong" and sentence.startswith(said), card
    if "raised" in card.sentence:
        assert "In [1]" in card.sentence and "on_ranks" not in card.sentence


@pytest.mark.parametrize("size", [5, 7])
def test_ranks_that_cannot_share_the_rows_evenly_are_told_so(size: int) -> None:
    judged_so = judge_within_memory(SimpleNamespace(size=size), "my_zero3")
    assert judged_so.why == f"48 rows cannot be shared out evenly among {size} ranks: check it on 2, 3, 4, 6 or 8"


def test_three_ranks_are_judged_alike() -> None:
    with start_ranks(3) as ranks:
        assert judged(ranks, "01.18", IMPORTS + RIGHT["solution"]).right
        assert judged(ranks, "01.18", IMPORTS + WRONG["summed"]).sentence.startswith(
            "layer 4's gradient on rank 0 is 3.00 × serial's: a sum"
        )


def test_two_ranks_are_judged_alike(ranks2: Ranks) -> None:
    assert judged(ranks2, "01.18", IMPORTS + RIGHT["solution"]).right
    assert "OutOfMemory" in judged(ranks2, "01.18", IMPORTS + WRONG["never_frees"]).sentence
