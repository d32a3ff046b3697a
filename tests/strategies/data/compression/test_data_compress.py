"""Compressed gradients against numpy's, bytes against formulas, and what error feedback is worth to a GPT."""

from __future__ import annotations

from math import prod

import data_compress_programs as programs
import numpy as np
import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.timeline import Trace

FLOAT64, HALF, INT32 = 8, 2, 4
SENT_OF_GIVEN = {"all_reduce": lambda n: 2 * (n - 1) / n, "all_gather": lambda n: n - 1}  # in a ring


def flat(tensors: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([tensor.ravel() for tensor in tensors])


def matrix(tensor: np.ndarray) -> np.ndarray:
    return tensor.reshape(len(tensor), -1)


def means(of_ranks: list, step: int) -> list[np.ndarray]:
    """The mean over ranks of each parameter's gradient in a step, from what each rank had."""
    return [np.mean(parts, axis=0) for parts in zip(*(had[step] for had, _, _ in of_ranks), strict=True)]


# ------------------------------------------------------------------ what comes back
def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """To so many significant bits, to even where it is in the middle."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


@pytest.mark.parametrize(("name", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_precision_rounds_to_its_bits(ranks2: Ranks, name: str, bits: int) -> None:
    of_ranks = ranks2.run(programs.aggregated, f"HalfPrecision(torch.{name})", 2)
    for step in range(2):
        halves = sum(rounded(flat(had[step]) / 2, bits) for had, _, _ in of_ranks)
        for _, became, _ in of_ranks:
            np.testing.assert_allclose(flat(became[step]), rounded(halves, bits), rtol=0, atol=1e-7)


@pytest.mark.parametrize("error_feedback", [True, False])
def test_top_k_equals_numpy(ranks4: Ranks, error_feedback: bool) -> None:
    """Over four steps, after the first of which the bucket is put in another order."""
    of_ranks = ranks4.run(programs.aggregated, f"TopK(0.1, {error_feedback})", 4)
    memory = [0.0] * 4
    for step in range(4):
        total = 0.0
        for rank, (had, _, _) in enumerate(of_ranks):
            wanted = flat(had[step]) / 4 + memory[rank]
            largest = np.abs(wanted) >= np.sort(np.abs(wanted))[-round(0.1 * len(wanted))]
            total = total + wanted * largest
            memory[rank] = wanted * ~largest * error_feedback
        for _, became, _ in of_ranks:
            np.testing.assert_allclose(flat(became[step]), total, rtol=0, atol=1e-15)
            np.testing.assert_array_equal(flat(became[step]), flat(of_ranks[0][1][step]))


@pytest.mark.parametrize("error_feedback", [True, False])
def test_power_sgd_equals_numpy(ranks4: Ranks, error_feedback: bool) -> None:
    """From the first step's outcome on all others follow, by one power iteration each."""
    of_ranks = ranks4.run(programs.aggregated, f"PowerSGD(2, {error_feedback})", 4)
    outcomes = of_ranks[0][1]
    for number in programs.MATRICES:
        wanted = matrix(means(of_ranks, 0)[number])
        basis, error = np.linalg.svd(matrix(outcomes[0][number]))[0][:, :2], 0.0
        for step in range(4):
            if step:
                q = wanted.T @ basis  # where the step before ended
                wanted = matrix(means(of_ranks, step)[number]) + error_feedback * error
                basis = np.linalg.qr(wanted @ q)[0]
            outcome = basis @ (basis.T @ wanted)
            error = wanted - outcome
            np.testing.assert_allclose(matrix(outcomes[step][number]), outcome, rtol=0, atol=1e-12)
            assert np.abs(error).max() > 0.1


def test_power_sgd_leaves_what_is_no_matrix_or_small(ranks2: Ranks) -> None:
    of_ranks = ranks2.run(programs.aggregated, "PowerSGD(2)", 3)
    for number in programs.WHOLE:
        for step in range(3):
            np.testing.assert_allclose(of_ranks[1][1][step][number], means(of_ranks, step)[number], rtol=1e-15)


def test_power_sgd_finds_the_best_approximation_of_a_gradient_that_stays(ranks2: Ranks) -> None:
    of_ranks = ranks2.run(programs.aggregated, "PowerSGD(2, False)", 60, True)
    for number in programs.MATRICES:
        u, s, v = np.linalg.svd(matrix(means(of_ranks, 0)[number]), full_matrices=False)
        best = (u[:, :2] * s[:2]) @ v[:2]
        np.testing.assert_allclose(matrix(of_ranks[0][1][-1][number]), best, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", ["TopK(0.1)", "PowerSGD(1)"])
def test_nothing_is_lost_with_error_feedback(ranks2: Ranks, how: str) -> None:
    """All that came back, and what is still kept, is all there was."""
    of_ranks = ranks2.run(programs.aggregated, how, 5)
    there_was = sum(flat(means(of_ranks, step)) for step in range(5))
    came_back = sum(flat(became) for became in of_ranks[0][1])
    kept = sum(flat(errors) for _, _, errors in of_ranks)
    assert np.abs(kept).max() > 0.1
    np.testing.assert_allclose(came_back + kept, there_was, rtol=0, atol=1e-13)


@pytest.mark.parametrize("how", ["TopK(0.1)", "PowerSGD(1)"])
def test_a_failed_backward_is_not_remembered(ranks2: Ranks, how: str) -> None:
    assert ranks2.run(programs.failing, how) == [True, True]


# ------------------------------------------------------------------ bytes
def half(n: int, bucket: list[tuple[int, ...]]) -> int:
    return 2 * (n - 1) * HALF * sum(map(prod, bucket))


def top_k(n: int, bucket: list[tuple[int, ...]]) -> int:
    return n * (n - 1) * (FLOAT64 + INT32) * round(0.02 * sum(map(prod, bucket)))


def power_sgd(n: int, bucket: list[tuple[int, ...]]) -> int:
    thin = sum(sum(shape) if len(shape) > 1 else shape[0] for shape in bucket)
    return 2 * (n - 1) * FLOAT64 * thin


def recorded_bytes(trace: Trace) -> float:
    """What all ranks together sent, by what each gave to the ops on the wire."""
    reductions = [op for op in trace if op.name in SENT_OF_GIVEN and op.kind == "collective"]
    return sum(SENT_OF_GIVEN[op.name](len(op.ranks)) * op.bytes for op in reductions)


@pytest.mark.parametrize(
    ("how", "formula"), [("HalfPrecision()", half), ("TopK(0.02)", top_k), ("PowerSGD(1)", power_sgd)]
)
def test_bytes_are_the_formula_s(ranks4: Ranks, how: str, formula) -> None:
    trace = ranks4.record(programs.trained, how, 2)
    _, _, steps = trace.results[0]
    assert [len(buckets) for buckets in steps] >= [2, 2]
    by_formula = sum(formula(4, bucket) for buckets in steps for bucket in buckets)
    assert sum(sent for _, sent, _ in trace.results) == by_formula == recorded_bytes(trace)


# ------------------------------------------------------------------ what it costs in loss
def test_error_feedback_is_what_makes_it_work(ranks2: Ranks) -> None:
    """A GPT on real text, 120 steps; nats a token, the same on every run."""
    hows = ["mean", "HalfPrecision()", "TopK(0.02)", "TopK(0.02, False)", "PowerSGD(2)", "PowerSGD(2, False)"]
    plain, half, top, top_without, power, power_without = (ranks2.run(programs.trained, how, 120)[0][0] for how in hows)
    assert plain < 2.85  # 3.1 is what the frequencies of the bytes alone give
    assert half == pytest.approx(plain, abs=0.005)
    assert top < plain + 0.1 and power < plain + 0.1
    assert top_without > plain + 0.2 and power_without > plain + 0.2


# ------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("HalfPrecision(torch.float32)", "dtype=torch.float32: half precision is"),
        ("TopK(0)", r"fraction=0 is not in \(0, 1\]"),
        ("PowerSGD(0)", "rank=0: a matrix is approximated by one of rank 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(ranks2: Ranks, how: str, message: str) -> None:
    with pytest.raises(RankError, match=message):
        ranks2.run(programs.reduction, how)
