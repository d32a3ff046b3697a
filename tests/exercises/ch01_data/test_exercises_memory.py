"""The memory exercises on real ranks: missing, stub, right, and wrong in the ways that people go wrong."""

from __future__ import annotations

import exercise_cells_memory as cells
import pytest
from exercise_runs import assert_open, assert_right, judged

from lab_utils.exercises.ch01_data.numbers import stage_bytes
from lab_utils.ranks import Ranks


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (name, versions[kind])
        for name, versions in (("01.11", cells.ZERO), ("01.12", cells.CLIP))
        for kind in ("stub", "dots")
    ],
)
def test_stubs_are_not_answered_yet(ranks4: Ranks, name: str, source: str) -> None:
    assert_open(ranks4, name, cells.IMPORTS + source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("01.11", cells.ZERO["mended"]),
        ("01.11", cells.ZERO["by_list"]),
        ("01.11", cells.ZERO["by_all_reduce"]),
        ("01.12", cells.CLIP["mended"]),
        ("01.12", cells.CLIP["lab"]),
        ("01.12", cells.CLIP["a_number"]),
    ],
)
def test_right_code(ranks4: Ranks, name: str, source: str) -> None:
    assert_right(ranks4, name, cells.IMPORTS + source)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "after step 0 the ranks have unequal parameters: "),
        ("gathered_before", "after step 0 all ranks have the parameters of before it: the update is not in them yet"),
        ("not_written_back", "after step 0 all ranks have the parameters of before it"),
        ("no_update", "after step 0 all ranks have the parameters of before it"),
        ("summed", "all ranks have equal parameters, and step 0's update is 4.00 × serial's: a sum where a mean"),
        ("own_gradient", "after step 0 all ranks have equal parameters, and they are not serial's"),
        ("averaged", "all ranks have equal parameters, and step 0's update is 0.25 × serial's"),
        ("piles_up", "after step 1 all ranks have equal parameters, and they are not serial's"),
        ("no_loss", "NoneType came back on rank 0: return the loss"),
        ("raises", "ranks 0-3 raised AttributeError: 'Tensor' object has no attribute 'backwards'"),
    ],
)
def test_wrong_zero(ranks4: Ranks, version: str, said: str) -> None:
    card = judged(ranks4, "01.11", cells.IMPORTS + cells.ZERO[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    if version == "planted":
        assert " differs most from rank 0's, by 0." in card.sentence
        assert card.lines[0].endswith(
            "on each rank its own piece is serial's, and the rest is as it was before the step"
        )
    if version not in ("no_loss", "raises"):
        assert "✗ no parity: parameters differ from serial by " in card.lines[-1]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("planted", "the pieces are scaled by 0.333 on rank 0, 1.000 on rank 2, 0.500 on rank 3: they are no longer"),
        ("norms_summed", "every rank scales by 0.167: a gradient of norm 3.742 would come to 0.624"),
        ("no_root", "every rank scales by 0.071"),
        ("largest", "every rank scales by 0.333"),
        ("nothing", "every rank scales by 1.000: a gradient of norm 3.742 would come to 3.742"),
        ("always", "every rank scales by 1.857: a gradient of norm 0.539 would come to 1.000"),
        ("by_value", "the gradient on rank 0 points elsewhere than before"),
        ("own_norm", "the gradients are right; the norm that came back on rank 0 is 0.802, not that of all"),
        ("no_norm", "the gradients are right, and NoneType came back on rank 0: return the norm"),
    ],
)
def test_wrong_clipping(ranks4: Ranks, version: str, said: str) -> None:
    card = judged(ranks4, "01.12", cells.IMPORTS + cells.CLIP[version])
    assert card.state == "wrong" and card.sentence.startswith(said), card
    assert card.lines[0].endswith("; max_norm is 1")


def test_two_ranks_are_judged_alike(ranks2: Ranks) -> None:
    for name, versions in (("01.11", cells.ZERO), ("01.12", cells.CLIP)):
        assert judged(ranks2, name, cells.IMPORTS + versions["mended"]).right
        assert judged(ranks2, name, cells.IMPORTS + versions["planted"]).state == "wrong"


def test_bytes_are_the_paper_s_in_its_own_example() -> None:
    """Figure 1 there, with 2 + 2 + 12 bytes: 31.4, 16.6 and 1.9 GB of 120 for 7.5 billion parameters on 64 ranks."""
    in_half = [7.5e9 * (2 + 2 + 12 / 64) / 1e9, 7.5e9 * (2 + 14 / 64) / 1e9, 7.5e9 * 16 / 64 / 1e9]
    assert [round(each, 1) for each in in_half] == [31.4, 16.6, 1.9]
    assert stage_bytes(10, ranks=1) == (320, 320, 320) and stage_bytes(10) == (200, 140, 80)
