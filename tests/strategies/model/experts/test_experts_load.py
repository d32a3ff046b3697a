"""The experts' load as numbers and as a picture: no torch, and words that say all that is drawn."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from lab_utils.render.palette import DARK
from lab_utils.strategies.model.experts.load import Load, together
from lab_utils.strategies.model.experts.load_picture import draw_load

LOAD = Load("blocks.0.mlp", (50, 20, 18, 12), (14, 0, 0, 0), ep=2, capacity=36)
WORDS = """\
Load of 4 experts: blocks.0.mlp
100 choices, 14 dropped; most loaded rank 1.30 × the mean; an expert takes at most 36
rank 0, 56 computed: expert 0: 36 computed, 14 dropped; expert 1: 20 computed
rank 1, 30 computed: expert 2: 18 computed; expert 3: 12 computed"""


def test_what_a_load_adds_up_to() -> None:
    assert LOAD.computed == (36, 20, 18, 12) and LOAD.by_rank == (56, 30)
    assert LOAD.imbalance == pytest.approx(56 / 43)
    assert Load("", (0, 0), (0, 0)).imbalance == 1 and Load("", (3, 1), (0, 0)).imbalance == 1.5


def test_loads_of_steps_add_up() -> None:
    assert together([LOAD, LOAD]) == Load("blocks.0.mlp", (100, 40, 36, 24), (28, 0, 0, 0), 2, 72)
    assert together([LOAD, Load("blocks.0.mlp", (1, 1, 1, 1), (0, 0, 0, 0), 2)]).capacity is None
    for odd in ([], [LOAD, Load("blocks.1.mlp", (1,), (0,))]):
        with pytest.raises(ValueError, match="loads of one layer are summed"):
            together(odd)


def test_the_picture_says_what_it_shows_and_needs_no_torch() -> None:
    program = (
        "import sys; from lab_utils.strategies.model.experts import Load, draw_load\n"
        f"print(draw_load({LOAD!r}).words); assert 'torch' not in sys.modules"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8").stdout
    assert printed.strip() == WORDS


def test_computed_is_solid_dropped_is_hollow_and_the_capacity_is_a_line() -> None:
    drawn, free = draw_load(LOAD).svg, draw_load(Load("blocks.0.mlp", (50, 20, 18, 12), (0, 0, 0, 0))).svg
    assert drawn.count("stroke-dasharray") == 1 and "capacity 36" in drawn and "14 dropped" in drawn
    assert "stroke-dasharray" not in free and "dropped" not in free.replace("0 dropped", "")
    assert set(re.findall("#[0-9a-f]{6}", drawn + free)) <= DARK.keys()
    assert ">rank 1<" in drawn and ">56<" in drawn and ">every rank<" in free


def test_many_experts_are_drawn_in_part_and_said_whole() -> None:
    shown = draw_load(Load("", tuple(range(256)), (0,) * 256, ep=8))
    assert "256 experts, of which the first 64 are drawn: one layer" in shown.words and "expert 255" in shown.words
    assert ">expert 63<" in shown.svg and ">expert 64<" not in shown.svg


def test_no_experts_are_refused() -> None:
    with pytest.raises(ValueError, match="the load of a layer has no experts to draw"):
        draw_load(Load("", (), ()))
