"""Partial softmaxes merged into one, and what they need to be differentiated."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lab_utils.strategies.model.context.ring import _attend, _attend_backward
from lab_utils.strategies.model.context.softmax_merge import merge


def drawn(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for shape in shapes]


def halves(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Output and log-sum-exp over each half of the keys."""
    return [_attend(q, torch.stack(each), False, None) for each in zip(k.chunk(2, 2), v.chunk(2, 2), strict=True)]


def test_two_halves_are_the_whole() -> None:
    q, k, v = drawn(*[(2, 3, 16, 8)] * 3)
    out, lse = merge(*[part for half in halves(q, k, v) for part in half])
    assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v), rtol=0, atol=1e-14)
    assert torch.allclose(lse, (q @ k.mT / 8**0.5).logsumexp(-1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("far", [1000.0, -1000.0, float("-inf")])
def test_trap_14_log_sum_exps_a_thousand_apart(far: float) -> None:
    """exp(1000) is infinite; the nearer half decides."""
    (out, other), lse = drawn((1, 1, 2, 4), (1, 1, 2, 4), dtype=torch.float32), torch.zeros(1, 1, 2)
    merged, total = merge(out, lse, other, lse + far)
    assert torch.equal(merged, other if far > 0 else out)
    assert torch.equal(total, lse + max(far, 0))
    naive = lse + torch.log(1 + torch.exp(lse + far - lse))
    assert naive.isinf().all() == (far > 0)


def test_trap_14_sums_are_in_float32() -> None:
    out, other = drawn((1, 1, 2, 4), (1, 1, 2, 4), dtype=torch.bfloat16)
    merged, total = merge(out, torch.zeros(1, 1, 2), other, torch.zeros(1, 1, 2))
    assert (merged.dtype, total.dtype) == (torch.float32, torch.float32)
    assert torch.equal(merged, (out.float() + other.float()) / 2)


def test_trap_15_backward_with_the_blocks_own_output_and_log_sum_exp() -> None:
    """dQ is off by 10 %, dK by 14 %: they lack what the blocks' weights depend on. dV is exact, and tells nothing."""
    q, k, v, dout = drawn(*[(1, 2, 64, 16)] * 4)
    wholes = [each.clone().requires_grad_() for each in (q, k, v)]
    F.scaled_dot_product_attention(*wholes, is_causal=True).backward(dout)

    def differences(own: bool) -> list[float]:
        pairs = zip(gradients_of_two_ranks(q, k, v, dout, own), wholes, strict=True)
        return [((found - whole.grad).norm() / whole.grad.norm()).item() for found, whole in pairs]

    assert max(differences(own=False)) < 1e-14
    dq, dk, dv = differences(own=True)
    assert dq == pytest.approx(0.10, abs=0.02) and dk == pytest.approx(0.14, abs=0.02) and dv < 1e-14


def gradients_of_two_ranks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dout: torch.Tensor, own: bool
) -> list[torch.Tensor]:
    """dQ, dK, dV of a causal ring over two halves; `own`: by each block's output and log-sum-exp, weighted."""
    (dq, dk, dv), half = (torch.zeros_like(each) for each in (q, k, v)), q.shape[2] // 2
    front, back = slice(0, half), slice(half, None)
    for rows, blocks in ((front, [front]), (back, [back, front])):
        parts = [_attend(q[:, :, rows], torch.stack((k, v))[..., keys, :], keys == rows, None) for keys in blocks]
        out, lse = parts[0] if len(parts) == 1 else merge(*parts[0], *parts[1])
        for keys, (block_out, block_lse) in zip(blocks, parts, strict=True):
            weighted = (block_lse - lse).exp()[..., None] * dout[:, :, rows]
            seen = (
                (weighted, q[:, :, rows], block_out, block_lse) if own else (dout[:, :, rows], q[:, :, rows], out, lse)
            )
            found = _attend_backward(*seen, torch.stack((k, v))[..., keys, :], keys == rows, None)
            for whole, at, part in zip((dq, dk, dv), (rows, keys, keys), found, strict=True):
                whole[:, :, at] += part
    return [dq, dk, dv]
