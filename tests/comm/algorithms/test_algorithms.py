"""Ring, tree and two-level collectives on real ranks: equal to gloo's, rounds and bytes those of the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from algorithm_checks import (
    check_against_gloo,
    check_bits,
    check_layouts,
    check_messages,
    check_refusals,
    check_subgroup,
    check_torch_functions,
    variants,
)
from algorithm_messages import COLLECTIVES, formula, sends
from forked_ranks import ForkedRanks

from lab_utils.timeline import Trace, message_rounds

RANKS = (1, 2, 3, 4, 8)


def lengths(n: int) -> list[int]:
    """None, fewer than ranks, as many, chunks of two sizes, and (4 ranks) more than a socket holds."""
    return sorted({0, n - 1, n, 1003, *([300_003] if n == 4 else [])})


@pytest.fixture(scope="module", params=RANKS, ids=lambda n: f"{n}-ranks")
def ranks(request, tmp_path_factory):
    started = ForkedRanks(request.param, str(tmp_path_factory.mktemp("store") / "store"))
    yield started
    started.stop()


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_integers_equal_gloos_exactly(ranks, collective):
    ops = ("SUM", "MAX", "MIN") if collective != "all_gather" else ("SUM",)
    cases = [(torch.int64, op, 13, True) for op in ops]
    cases += [(dtype, "SUM", 13, True) for dtype in (torch.int8, torch.uint8, torch.bool)]
    for name, mine, reference in sum(ranks.run(check_against_gloo, collective, cases), []):
        np.testing.assert_array_equal(mine, reference, err_msg=name)


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_float64_equals_gloos_up_to_the_order_of_summation(ranks, collective):
    cases = [(torch.float64, "SUM", numel, False) for numel in lengths(ranks.n)]
    if collective != "all_gather":
        cases += [(torch.float64, op, 13, False) for op in ("AVG", "PRODUCT")]
    for name, mine, reference in sum(ranks.run(check_against_gloo, collective, cases), []):
        np.testing.assert_allclose(mine, reference, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_short_floats_equal_gloos_exactly_where_nothing_is_rounded(ranks, collective):
    """Sums of small whole numbers are exact in every dtype, and gloo too divides only at the end."""
    cases = [(dtype, "SUM", 13, True) for dtype in (torch.float16, torch.bfloat16)]
    if collective != "all_gather":
        cases += [(torch.bfloat16, "AVG", 13, True)]
    for name, mine, reference in sum(ranks.run(check_against_gloo, collective, cases), []):
        np.testing.assert_array_equal(mine, reference, err_msg=name)


def test_arguments_are_those_of_torch(ranks):
    for algorithm, m in variants(ranks.n):
        for scattered, torchs_scattered, gathered, torchs_gathered in ranks.run(check_torch_functions, algorithm, m):
            np.testing.assert_array_equal(scattered, torchs_scattered, err_msg=algorithm)
            np.testing.assert_array_equal(gathered, torchs_gathered, err_msg=algorithm)


def test_any_layout_is_reduced_in_place(ranks):
    for algorithm, m in variants(ranks.n):
        for seen in ranks.run(check_layouts, algorithm, m):
            for ours, expected in seen:
                np.testing.assert_array_equal(ours, expected, err_msg=algorithm)


def test_all_ranks_hold_the_same_bits(ranks):
    for algorithm, m in variants(ranks.n):
        results, own_orders = zip(*ranks.run(check_bits, algorithm, m), strict=True)
        assert all(r == results[0] for r in results), f"{algorithm} {m}: ranks differ"
        if ranks.n > 2:  # and that is not for lack of numbers whose sum depends on the order
            assert len(set(own_orders)) > 1


def test_a_subgroup_has_its_own_numbers(ranks):
    members = list(range(ranks.n))[1::2][:4] or [0]
    for algorithm, m in variants(len(members)):
        for rank, seen in enumerate(ranks.run(check_subgroup, algorithm, m, members)):
            if rank in members:
                np.testing.assert_array_equal(seen, np.full(5, float(sum(members))))
            else:
                assert seen == f"rank {rank} is not in the group that it was given"


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_messages_bytes_and_rounds_are_those_of_the_formulas(ranks, collective):
    n = ranks.n
    cases = [(algorithm, m, numel) for algorithm, m in variants(n) for numel in ((n - 1, 1003) if n < 8 else (1003,))]
    by_rank = ranks.run(check_messages, collective, cases)
    for (algorithm, m, numel), *ops_by_rank in zip(cases, *by_rank, strict=True):
        trace = Trace.from_ranks(ops_by_rank, [], [])
        laid_out = sends(algorithm, m, collective, n, numel)
        for rank, ops in enumerate(trace.ops):
            sent = [(op.peer, op.bytes) for op in ops if op.kind == "send"]
            assert sent == [(dst, 4 * elements) for _, dst, elements in laid_out[rank]], (algorithm, m, rank)
            cost = formula(algorithm, m, collective, n, rank, numel, itemsize=4)
            total = sum(nbytes for _, nbytes in sent)
            assert (message_rounds(trace), len(sent), total) == (cost.rounds, cost.messages, cost.bytes)


def test_bad_arguments_end_in_one_sentence_before_anything_is_sent(ranks):
    n, x, ints = ranks.n, torch.zeros(12), torch.zeros(12, dtype=torch.int64)
    cases, sentences = [], []
    for name, m in variants(n):
        cases += [
            (name, m, "all_reduce", (ints,), {"op": dist.ReduceOp.AVG}),
            (name, m, "all_reduce", (ints,), {"op": dist.ReduceOp.BAND}),
            (name, m, "all_reduce", (x.to(torch.complex64),), {"op": dist.ReduceOp.MAX}),
            (name, m, "reduce_scatter", (torch.zeros(13), x), {}),
            (name, m, "all_gather", (x, torch.zeros(13)), {}),
        ]
        sentences += ["AVG of torch.int64 would need", "BAND is not one of", "complex numbers have no order"]
        sentences += ["and was given 13 of torch.float32"] * 2
    cases += [("two_level", n + 1, "all_reduce", (x,), {}), ("two_level", 0, "all_reduce", (x,), {})]
    sentences += [f"{n} ranks do not fill nodes of ranks_per_node={m}" for m in (n + 1, 0)]
    for answers in ranks.run(check_refusals, cases):
        for answer, sentence in zip(answers, sentences, strict=True):
            assert sentence in answer
