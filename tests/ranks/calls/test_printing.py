"""What ranks said, merged: pure functions, so every property is tried on many outputs."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from lab_utils.text import merge, name_ranks

RANK_SETS = st.sets(st.integers(0, 40), min_size=1)
LINES = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=20)
OUTPUTS = st.dictionaries(st.integers(0, 9), st.lists(LINES, max_size=3).map("\n".join), max_size=10)
NAME = re.compile(r"^ranks? ([0-9, -]+):(?: (.*))?$")


def _members(name: str) -> list[int]:
    """The ranks that "0, 2-3" names."""
    runs = [part.split("-") for part in name.split(", ")]
    return [rank for run in runs for rank in range(int(run[0]), int(run[-1]) + 1)]


def _read_back(text: str) -> dict[int, str]:
    """{rank: text} from what merge printed."""
    said: dict[int, str] = {}
    members: list[int] = []
    for line in text.split("\n")[:-1]:
        if not line.startswith("  ") and (head := NAME.match(line)):
            members = _members(head[1])
            said |= {rank: head[2] for rank in members if head[2] is not None}
        else:
            said |= {rank: f"{said[rank]}\n{line[2:]}" if rank in said else line[2:] for rank in members}
    return said


def test_names() -> None:
    named = {(2,): "rank 2", (0, 1, 2, 3): "ranks 0-3", (3, 0, 2): "ranks 0, 2-3", (0, 2): "ranks 0, 2"}
    assert {ranks: name_ranks(ranks) for ranks in named} == named


@given(RANK_SETS)
def test_a_name_names_exactly_its_ranks(ranks: set[int]) -> None:
    name = name_ranks(ranks)
    assert _members(name.partition(" ")[2]) == sorted(ranks)
    assert name.startswith("ranks ") == (len(ranks) > 1)


def test_identical_outputs_once_and_in_rank_order() -> None:
    said = {2: "loss 3.1\n", 0: "loss 3.1\n", 3: "", 1: "epoch 0\nloss 2.9\n"}
    assert merge(said) == "ranks 0, 2: loss 3.1\nrank 1:\n  epoch 0\n  loss 2.9\n"


def test_nothing_said_prints_nothing() -> None:
    assert merge({}) == merge({0: "", 1: "\n\n"}) == ""


@given(OUTPUTS)
def test_nothing_is_lost_and_nothing_is_added(outputs: dict[int, str]) -> None:
    spoken = {rank: text.rstrip("\n") for rank, text in outputs.items() if text.rstrip("\n")}
    assert _read_back(merge(outputs)) == spoken


@given(OUTPUTS, st.randoms())
def test_the_order_of_arrival_does_not_show(outputs: dict[int, str], random) -> None:
    arrived = list(outputs.items())
    random.shuffle(arrived)
    assert merge(dict(arrived)) == merge(outputs)


@given(OUTPUTS)
def test_each_text_stands_once_at_its_first_rank(outputs: dict[int, str]) -> None:
    texts = [text.rstrip("\n") for _, text in sorted(outputs.items()) if text.rstrip("\n")]
    heads = [line for line in merge(outputs).split("\n") if not line.startswith("  ") and NAME.match(line)]
    assert len(heads) == len(set(texts))
    firsts = [_members(NAME.match(head)[1])[0] for head in heads]
    assert firsts == sorted(firsts)
