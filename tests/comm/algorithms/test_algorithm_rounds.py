"""Round lists and formulas of the collective algorithms, against each other and the textbook; no ranks run."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import rounds_as_data
import torch
from algorithm_checks import variants
from algorithm_messages import COLLECTIVES, formula, round_list, sends
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.comm.algorithms import formulas
from lab_utils.comm.algorithms.rounds import chunk_offsets, chunk_sizes

group_sizes = st.integers(1, 24)
collectives = st.sampled_from(COLLECTIVES)


@st.composite
def algorithms(draw):
    n = draw(group_sizes)
    return n, *draw(st.sampled_from(variants(n)))


@given(algorithms(), collectives, st.integers(0, 200), st.integers(1, 8))
@settings(deadline=None)
def test_formulas_equal_the_round_lists(algorithm, collective, numel, itemsize):
    n, name, m = algorithm
    rounds = round_list(name, m, collective, n)
    for rank, sent in enumerate(sends(name, m, collective, n, numel)):
        cost = formula(name, m, collective, n, rank, numel, itemsize)
        assert cost.rounds == len(rounds)
        assert cost.messages == len(sent)
        assert cost.bytes == sum(elements for *_, elements in sent) * itemsize
        across = sum(elements for _, dst, elements in sent if m and dst // m != rank // m)
        assert cost.bytes_across == across * itemsize


@given(algorithms(), collectives)
@settings(deadline=None)
def test_every_part_is_added_once_and_everything_arrives(algorithm, collective):
    n, name, m = algorithm
    rounds = round_list(name, m, collective, n)
    everyone = frozenset(range(n))
    before = tuple(
        tuple(frozenset({r}) if collective != "all_gather" or r == c else frozenset() for c in range(n))
        for r in range(n)
    )
    for each in rounds:
        ends = [end for src, dst, _ in each.messages for end in (("from", src), ("to", dst))]
        assert len(set(ends)) == len(ends), "a rank sends or receives twice in one round"
        for src, dst, chunks in each.messages:
            for c in chunks:
                assert before[src][c], "a chunk is sent that is not there"
                assert not (each.adds and before[src][c] & before[dst][c]), "a part is added twice"
        before = each.holds
    for r in range(n):
        for c in range(n):
            if collective == "all_gather":
                assert before[r][c] == {c}
            elif collective == "all_reduce" or r == c:
                assert before[r][c] == everyone


@given(group_sizes)
def test_a_ring_passes_on_what_came_from_the_left(n):
    """2(n-1) rounds; every chunk goes round and is complete for the first time at its owner."""
    rounds = rounds_as_data.ring_rounds(n)
    assert len(rounds) == 2 * (n - 1)
    for each, later in zip(rounds, rounds[1:], strict=False):
        arrived = {dst: chunks for _, dst, chunks in each.messages}
        assert arrived == {src: chunks for src, _, chunks in later.messages}
    for each in rounds:
        assert all(dst == (src + 1) % n and len(chunks) == 1 for src, dst, chunks in each.messages)
    if n > 1:
        complete = [[len(chunk) == n for chunk in holding] for holding in rounds[n - 2].holds]
        assert np.array_equal(complete, np.eye(n, dtype=bool))


@given(st.integers(1, 64), st.integers(1, 100))
def test_textbook_numbers_where_the_chunks_are_equal(n, per_chunk):
    size = n * per_chunk
    for rank in range(n):
        assert formulas.ring("all_reduce", n, rank, size).bytes * n == 2 * (n - 1) * size
        assert formulas.ring("reduce_scatter", n, rank, size).bytes * n == (n - 1) * size
        for m in (m for m in range(1, n + 1) if n % m == 0):
            cost = formulas.two_level("all_reduce", n, rank, size, m)
            assert cost.bytes * n == 2 * (n - 1) * size
            assert cost.bytes_across * n == 2 * (n // m - 1) * size
            assert cost.rounds == 2 * (m - 1) + 2 * (n // m - 1)
    log2 = int(np.ceil(np.log2(n)))
    assert formulas.tree("all_reduce", n, 0, size).bytes == log2 * size
    assert formulas.tree("all_reduce", n, n - 1, size).rounds == 2 * log2


@given(st.integers(0, 500), group_sizes)
def test_chunks_are_those_of_torch(numel, n):
    assert chunk_sizes(numel, n) == [len(c) for c in torch.empty(numel).tensor_split(n)]
    assert chunk_offsets(numel, n) == np.cumsum([0, *chunk_sizes(numel, n)]).tolist()


@pytest.mark.parametrize("module", [rounds_as_data, formulas], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


def test_pure_functions_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="at least 1 rank, and n is 0"):
        rounds_as_data.ring_rounds(0)
    with pytest.raises(ValueError, match="one of all_reduce, reduce_scatter, all_gather, and not 'reduce'"):
        formulas.tree("reduce", 4, 0, 10)
    with pytest.raises(ValueError, match="6 ranks do not fill nodes of ranks_per_node=4: take a divisor of 6"):
        formulas.two_level("all_reduce", 6, 0, 10, 4)
    with pytest.raises(ValueError, match="4 ranks are 0 to 3, and rank is 4"):
        formulas.ring("all_reduce", 4, 4, 10)
