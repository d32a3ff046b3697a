"""All-to-all attention: for the time of the attention a rank has all tokens of a part of the heads.

Jacobs et al. 2023, "DeepSpeed Ulysses" (arXiv 2309.14509), section 3.1. Two exchanges forward and two backward, whose
size does not grow with the ranks; the mask, causal or not, is the whole one, so that every rank computes as much.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from lab_utils.strategies.model.context.ring import check
from lab_utils.strategies.model.context.zigzag import SequenceSplit, check_heads


def all_to_all_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    split: SequenceSplit,
    group: dist.ProcessGroup,
    *,
    causal: bool = True,
    scale: float | None = None,
) -> Tensor:
    """Return the attention of this rank's queries over the whole sequence, [B, H, t, D]; all ranks of cp call it.

    q [B, H, t, D], k and v [B, K, t, D] are of the rank's own tokens, in the order of `split.positions`. ValueError
    when sizes do not fit: n divides H, and n and K divide one another (`check_heads`).
    """
    check(q, k, v, split, group)
    n = group.size()
    check_heads(q.shape[1], k.shape[1], n)
    if n == 1:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=True)
    if k.shape[1] < n:  # a head goes to each rank that has queries of it; autograd sums its gradients
        k, v = (each.repeat_interleave(n // k.shape[1], 1) for each in (k, v))
    heads = [each.unflatten(1, (n, -1)) for each in (q, k, v)]  # [B, n, heads of one rank, t, D]
    q, k, v = _to_heads(torch.cat(heads, 2), split, group).split([each.shape[2] for each in heads], 1)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=True)
    return _to_tokens(out, split, group)


def _to_heads(x: Tensor, split: SequenceSplit, group: dist.ProcessGroup) -> Tensor:
    """All heads of own tokens [B, n, h, t, D] -> own heads of all tokens, by position, [B, h, T, D]."""
    t, lengths = x.shape[3], [split.length(rank) for rank in range(split.ranks)]
    rows = x.permute(1, 3, 0, 2, 4).flatten(0, 1)  # [n t, B, h, D]: t rows for each rank
    rows = _Exchange.apply(rows, [t] * split.ranks, lengths, group)  # [T, B, h, D], rank by rank
    return rows[torch.from_numpy(split.order().argsort())].permute(1, 2, 0, 3)


def _to_tokens(x: Tensor, split: SequenceSplit, group: dist.ProcessGroup) -> Tensor:
    """Own heads of all tokens [B, h, T, D] -> all heads of own tokens [B, n h, t, D]."""
    t, lengths = split.length(group.rank()), [split.length(rank) for rank in range(split.ranks)]
    rows = x.permute(2, 0, 1, 3)[torch.from_numpy(split.order())]  # [T, B, h, D], rank by rank
    rows = _Exchange.apply(rows, lengths, [t] * split.ranks, group)  # [n t, B, h, D]
    return rows.unflatten(0, (split.ranks, t)).permute(2, 0, 3, 1, 4).flatten(1, 2)


class _Exchange(torch.autograd.Function):
    """Sends rows to every rank, `given[r]` of them to rank r, and returns those from all, `got[r]` of rank r.

    A row is sent to one place and stays what it is, y = P x with a permutation P over the rows of all ranks. So its
    gradient, Pᵀ dy, goes the way back: the same exchange with the numbers swapped.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, given: list[int], got: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.back = (got, given, group)
        return _exchange(rows, given, got, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _exchange(gradient, *ctx.back), None, None, None


def _exchange(rows: Tensor, given: list[int], got: list[int], group: dist.ProcessGroup) -> Tensor:
    arriving = rows.new_empty(sum(got), *rows.shape[1:])
    dist.all_to_all_single(arriving, rows.contiguous(), got, given, group=group)
    return arriving
