"""Formulas of kept activations: their terms add up to what was published, per rank."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from lab_utils.strategies.model.activations import (
    Kept,
    Term,
    formula_beside_counted,
    gpt_layer,
    paper_ends,
    paper_layer,
    paper_to_gpt,
)

B, T, C, H, V = 3, 32, 48, 8, 640
WIDE = B * T * C

# Table 2 of arXiv 2205.05198, with s, b, h, a, t as T, B, C, H, tp.
TABLE_2 = {
    (False, "none"): lambda t: WIDE * (10 + 24 / t + 5 * H * T / (C * t)),
    (True, "none"): lambda t: WIDE / t * (34 + 5 * H * T / C),
    (False, "selective"): lambda t: WIDE * (10 + 24 / t),
    (True, "selective"): lambda t: WIDE * 34 / t,
    (False, "full"): lambda t: WIDE * 2,
    (True, "full"): lambda t: WIDE * 2 / t,  # not in it: the layer's input is split as all of the residual stream is
}


def together(terms) -> int:
    return sum(term.bytes for term in terms)


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
@pytest.mark.parametrize(("sequence", "recompute"), TABLE_2)
def test_the_terms_of_a_layer_add_up_to_table_2(tp: int, sequence: bool, recompute: str) -> None:
    terms = paper_layer(B, T, C, H, tp=tp, sequence=sequence, recompute=recompute)
    assert together(terms) == TABLE_2[sequence, recompute](tp)


def test_the_parts_of_a_layer() -> None:
    """Section 4.1: attention 11sbh + 5as²b, MLP 19sbh, norms 4sbh."""
    terms = paper_layer(B, T, C, H)

    def of(*parts: str) -> int:
        return together(term for term in terms if term.module.startswith(parts))

    assert of("attention", "dropout1") == 11 * WIDE + 5 * H * B * T**2
    assert of("mlp", "dropout2") == 19 * WIDE
    assert of("norm") == 4 * WIDE


def test_what_selective_recomputation_saves_of_gpt3_and_mt_nlg() -> None:
    """Section 5: 70 % and 65 %, where 5as/h is 80 and 64."""
    for channels, heads, saved in ((12288, 96, 0.70), (20480, 128, 0.65)):
        size = [together(paper_layer(1, 2048, channels, heads, recompute=each)) for each in ("none", "selective")]
        assert 1 - size[1] / size[0] == pytest.approx(saved, abs=0.005)


def test_the_ends_are_section_4_3() -> None:
    for tp in (1, 2, 8):
        assert together(paper_ends(B, T, C, V, tp=tp)) == WIDE / tp + 4 * WIDE / tp * (1 + V / C)
    assert together(paper_ends(B, T, C, V, tp=8, sequence=False)) == 5 * WIDE + 4 * B * T * V / 8


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("element", [2, 4, 8])
def test_from_the_papers_formula_to_the_labs(element: int, sequence: bool) -> None:
    for tp in (1, 2, 8):
        how = {"tp": tp, "sequence": sequence, "element": element}
        logarithms = max(element, 4) * B * H * T // tp
        whole = tp if sequence else 1
        for recompute, cut in (("none", 12), ("selective", 8)):
            kept = 4 * WIDE // whole + cut * WIDE // tp + 4 * B * T // whole  # elements
            terms = gpt_layer(B, T, C, H, recompute=recompute, **how)
            assert together(terms) == element * kept + (recompute == "none") * logarithms
        assert together(paper_to_gpt(B, T, C, H, **how)) == together(gpt_layer(B, T, C, H, **how))
        assert together(gpt_layer(B, T, C, H, recompute="full", **how)) == element * WIDE // whole


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: paper_layer(B, T, C, H, tp=3), "heads = 8 cannot be divided over tp = 3 ranks: tp can be 1, 2, 4, 8"),
        (lambda: paper_layer(B, 6, C, H, tp=4, sequence=True), "tokens = 6 cannot be divided over tp = 4"),
        (lambda: paper_ends(B, T, C, 51, tp=2), "vocabulary = 51 cannot be divided over tp = 2 ranks"),
        (lambda: paper_layer(B, T, C, H, recompute="some"), "recompute='some': it can be none, selective, full"),
        (lambda: gpt_layer(B, T, C, H, recompute="some"), "recompute='some': it can be none, selective, full"),
    ],
)
def test_what_has_no_formula_is_said(ask, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ask()


def test_the_table_pairs_lines_by_module_and_shows_what_stands_alone() -> None:
    terms = [Term("norm", "input", 64), Term("head", "input", 1024)]
    kept = [Kept("norm", (2, 8), "float32", 64), Kept("norm", (2, 1), "float32", 8), Kept("", (3,), "int64", 24)]
    assert repr(formula_beside_counted(terms, kept)).splitlines() == [
        "module             keeps  formula  counted",
        "norm               input       64       64",
        "norm      [2, 1] float32                 8",
        "head               input    1,024",
        "               [3] int64                24",
        "together                    1,088       96",
    ]


def test_formulas_and_tables_need_no_torch() -> None:
    program = (
        "import sys; from lab_utils.strategies.model import activations as a\n"
        "a.formula_beside_counted(a.paper_layer(1, 8, 8, 2), []), a.gpt_layer(1, 8, 8, 2)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
