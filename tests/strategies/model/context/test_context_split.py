"""Which tokens a rank of cp has, which blocks it computes, and the picture of the rounds: arithmetic alone."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.strategies.model.context.picture import ring_rounds
from lab_utils.strategies.model.context.zigzag import (
    IGNORED,
    SequenceSplit,
    all_to_all_bytes,
    check_heads,
    next_tokens,
    ring_bytes,
)


@st.composite
def splits(draw: st.DrawFn) -> SequenceSplit:
    ranks = draw(st.integers(1, 6))
    return SequenceSplit(draw(st.integers(2 * ranks, 40)), ranks, draw(st.booleans()))


@given(splits())
def test_each_token_is_on_one_rank(split: SequenceSplit) -> None:
    assert sorted(split.order()) == list(range(split.tokens))
    for rank in range(split.ranks):
        positions = split.positions(rank)
        assert len(positions) == split.length(rank) and (np.diff(positions) > 0).all()
    slices = [len(each) for rank in range(split.ranks) for each in split.slices(rank)]
    assert max(slices) - min(slices) <= 1


@given(splits(), st.booleans())
def test_blocks_are_the_mask(split: SequenceSplit, causal: bool) -> None:
    """All of it, each pair once, and nothing that is masked."""
    computed = np.zeros((split.tokens, split.tokens), int)
    for rank in range(split.ranks):
        for source in range(split.ranks):
            if block := split.block(rank, source, causal):
                queries, keys = split.positions(rank)[block.first :], split.positions(source)[: block.keys]
                seen = np.ones((len(queries), len(keys)), int)
                computed[np.ix_(queries, keys)] += np.tril(seen) if block.causal else seen
    assert (computed == (np.tril(np.ones_like(computed)) if causal else 1)).all()


def test_a_zigzag_of_sixteen() -> None:
    assert [SequenceSplit(16, 4).positions(rank).tolist() for rank in range(4)] == [
        [0, 1, 14, 15], [2, 3, 12, 13], [4, 5, 10, 11], [6, 7, 8, 9],
    ]  # fmt: skip
    assert [SequenceSplit(10, 3, zigzag=False).length(rank) for rank in range(3)] == [4, 3, 3]


def test_trap_12_labels_are_shifted_before_the_split() -> None:
    split, ids = SequenceSplit(8, 2), np.arange(8)[None]
    labels = [split.own(next_tokens(ids), rank)[0].tolist() for rank in range(2)]
    assert labels == [[1, 2, 7, IGNORED], [3, 4, 5, 6]]
    after = [next_tokens(split.own(ids, rank))[0].tolist() for rank in range(2)]
    assert after == [[1, 6, 7, IGNORED], [3, 4, 5, IGNORED]]


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_trap_13_balance(ranks: int) -> None:
    tokens = 16 * ranks
    assert SequenceSplit(tokens, ranks, zigzag=False).imbalance() == (2 * ranks - 1) / ranks
    assert SequenceSplit(tokens, ranks).imbalance() == 1.0
    assert SequenceSplit(tokens, ranks, zigzag=False).imbalance(causal=False) == 1.0
    if ranks == 4:
        assert SequenceSplit(tokens, ranks, zigzag=False).imbalance() == 1.75


def test_equal_work_in_each_round_and_not_only_in_all() -> None:
    split = SequenceSplit(64, 4)
    assert {split.work(rank, source) for rank in range(4) for source in range(4)} == {16 * 16 / 2}


def test_too_short_a_sequence_is_refused_with_what_would_do() -> None:
    said = "7 tokens cannot be cut into the 2 × 4 slices of a zigzag, of at least one token each: take 8 tokens or more"
    with pytest.raises(ValueError, match=re.escape(said)):
        SequenceSplit(7, 4)
    with pytest.raises(ValueError, match="3 tokens cannot be cut into the 4 slices"):
        SequenceSplit(3, 4, zigzag=False)
    with pytest.raises(ValueError, match="0 ranks: a sequence is cut over at least 1"):
        SequenceSplit(3, 0)


def test_trap_16_ranks_that_can_share_out_the_heads() -> None:
    fitting = []
    for ranks in range(1, 81):
        try:
            check_heads(40, 8, ranks)
            fitting.append(ranks)
        except ValueError as error:
            assert str(error).endswith("divides the key heads or is a multiple of them, is 1, 2, 4, 8, 40")  # noqa: PT017
    assert fitting == [1, 2, 4, 8, 40]


def test_bytes_of_a_ring() -> None:
    """n - 1 hops of keys and values forward, as many backward, n of their gradients: 3 n - 2 of T / n tokens."""
    for ranks in (2, 4, 8):
        assert ring_bytes(SequenceSplit(64, ranks), 0, token_bytes=10) == (3 * ranks - 2) * 64 // ranks * 10
    assert ring_bytes(SequenceSplit(64, 1), 0, token_bytes=10) == 0


def test_bytes_of_all_to_all_do_not_grow_with_the_ranks() -> None:
    """Of T / n tokens (n - 1) / n of the heads leave, four times: in all ranks together about 8 T H for H = K."""
    of_one = [all_to_all_bytes(SequenceSplit(64, n, zigzag=False), 0, 8, 8, head_bytes=10) for n in (2, 4, 8)]
    assert of_one == [8 * 64 * 8 * 10 * (n - 1) // n**2 for n in (2, 4, 8)]


# ---------------------------------------------------------------------- to look at
def test_the_picture_says_each_round_and_needs_no_torch() -> None:
    program = (
        "import sys; from lab_utils.strategies.model.context.picture import ring_rounds\n"
        "print(ring_rounds(4)._repr_mimebundle_()['text/plain']); assert 'torch' not in sys.modules"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8").stdout
    lines = printed.splitlines()
    assert lines[0].startswith("contiguous: the rounds last 3.50 blocks of T/4 × T/4, an even share is 2.00")
    assert lines[0].endswith("most loaded / mean 1.75")
    assert lines[5].startswith("zigzag: the rounds last 2.00 blocks") and lines[5].endswith("most loaded / mean 1.00")
    assert lines[2].startswith(
        "contiguous, round 1: rank 0 has the keys of rank 3 and is idle; rank 1 computes slices 2, 3"
    )
    assert "rank 1 computes slices 1, 6 with 0 of the keys of rank 0, work 0.50" in lines[7]
    assert len(lines) == 10


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_each_round_draws_what_was_computed_until_then(ranks: int, causal: bool) -> None:
    """A mark for each cell of the mask of 2 n slices, n - hop times if it is computed in round `hop`."""
    marks = 0
    for split in (SequenceSplit(2 * ranks, ranks, zigzag=False), SequenceSplit(2 * ranks, ranks)):
        owner = {int(at): rank for rank in range(ranks) for at in split.positions(rank)}
        cells = [(q, k) for q in range(2 * ranks) for k in range(2 * ranks) if k <= q or not causal]
        marks += sum(ranks - (owner[query] - owner[key]) % ranks for query, key in cells)
    assert ring_rounds(ranks, causal).svg.count("<path") == marks


def test_the_rounds_of_too_many_ranks_are_refused() -> None:
    for ranks in (1, 9):
        with pytest.raises(ValueError, match=f"{ranks} ranks: the rounds are drawn of 2 to 8"):
            ring_rounds(ranks)
