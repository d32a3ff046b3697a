"""Ring attention: queries stay, keys and values travel around the ring of cp while each rank computes with what it has.

Liu et al. 2023, "Ring Attention with Blockwise Transformers for Near-Infinite Context" (arXiv 2310.01889), section 3.
A round is one block of the mask. Besides its own keys and values a rank holds those that it computes with and those
that arrive, and never a block's probabilities.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from lab_utils.strategies.model.context.softmax_merge import merge
from lab_utils.strategies.model.context.zigzag import SequenceSplit

KEYS_AND_VALUES, GRADIENTS = 1, 2  # tags: in backward both are on their way at once


def ring_attention(
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

    q [B, H, t, D], k and v [B, K, t, D] are of the rank's own tokens, in the order of `split.positions`; query head h
    attends to key head ⌊h · K / H⌋. `scale` is 1 / √D by default. ValueError when sizes do not fit.
    """
    check(q, k, v, split, group)
    if group.size() == 1:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=True)
    return _Ring.apply(q, k, v, split, group, causal, scale)


class _Ring(torch.autograd.Function):
    """Forward merges the blocks. Backward, with P = exp(S - lse), S = scale · Q Kᵀ, and lse, O of *all* keys:

        dV = Pᵀ dO    dS = P ∘ (dO Vᵀ - rowsum(dO ∘ O))    dQ = scale · dS K    dK = scale · dSᵀ Q

    Each is a sum over blocks, and a block's P are exactly its columns of the whole P, so that a kernel for one block
    does it, if given the global lse and O (Dao et al. 2022, arXiv 2205.14135, appendix B.2). dQ stays; dK and dV follow
    their keys around the ring, each rank adds its block's, and after n hops they are home.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, q: Tensor, k: Tensor, v: Tensor, split: SequenceSplit, group: dist.ProcessGroup,
        causal: bool, scale: float | None,
    ) -> Tensor:  # fmt: skip
        rank, n = group.rank(), group.size()
        kv, out, lse = torch.stack((k, v)), None, None  # [2, B, K, t of the source, D]
        for hop in range(n):
            source, works = (rank - hop) % n, []
            if hop < n - 1:
                arriving, works = _pass_on(kv, split.length((source - 1) % n), group, KEYS_AND_VALUES)
            if block := split.block(rank, source, causal):
                rows = slice(block.first, None)
                part = _attend(q[:, :, rows], kv[..., : block.keys, :], block.causal, scale)
                if out is None:  # the first block is the rank's own, and has all rows
                    out, lse = part[0].to(_accumulated(q)), part[1]
                else:
                    out[:, :, rows], lse[:, :, rows] = merge(out[:, :, rows], lse[:, :, rows], *part)
            _wait(works)
            if works:
                kv = arriving
        out = out.to(q.dtype)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.split, ctx.group, ctx.causal, ctx.scale = split, group, causal, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dout: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        split, group = ctx.split, ctx.group
        rank, n = group.rank(), group.size()
        kv, dtype = torch.stack((k, v)), _accumulated(q)
        dq, dkv = torch.zeros_like(q, dtype=dtype), torch.zeros_like(kv, dtype=dtype)
        for hop in range(n):
            source, works, coming = (rank - hop) % n, [], []
            if hop < n - 1:
                arriving, works = _pass_on(kv, split.length((source - 1) % n), group, KEYS_AND_VALUES)
            if hop > 0:  # of this round's keys: what the ranks before have added
                dkv, coming = _pass_on(dkv, split.length(source), group, GRADIENTS)
            if block := split.block(rank, source, ctx.causal):
                rows, columns = slice(block.first, None), slice(block.keys)
                seen = [each[:, :, rows] for each in (dout, q, out, lse)]
                parts = _attend_backward(*seen, kv[..., columns, :], block.causal, ctx.scale)
                dq[:, :, rows] += parts[0]
                _wait(coming)
                for gradient, part in zip(dkv, parts[1:], strict=True):
                    gradient[:, :, columns] += part
            _wait([*works, *(coming if block is None else ())])
            if works:
                kv = arriving
        dkv, coming = _pass_on(dkv, split.length(rank), group, GRADIENTS)  # home
        _wait(coming)
        return dq.to(q.dtype), *dkv.to(k.dtype), None, None, None, None


def _pass_on(tensor: Tensor, length: int, group: dist.ProcessGroup, tag: int) -> tuple[Tensor, list[dist.Work]]:
    """Start sending to the next rank, and receiving the previous rank's, of `length` tokens; return it, and the works.

    [2, B, K, any, D] -> [2, B, K, length, D]
    """
    arriving = tensor.new_empty(*tensor.shape[:-2], length, tensor.shape[-1])
    after, before = (group.rank() + 1) % group.size(), (group.rank() - 1) % group.size()
    ops = [
        dist.P2POp(dist.isend, tensor, group=group, group_peer=after, tag=tag),
        dist.P2POp(dist.irecv, arriving, group=group, group_peer=before, tag=tag),
    ]
    return arriving, dist.batch_isend_irecv(ops)


def _wait(works: list[dist.Work]) -> None:
    for work in works:
        work.wait()


def _accumulated(tensor: Tensor) -> torch.dtype:
    """Return the dtype of a sum over rounds."""
    return torch.promote_types(tensor.dtype, torch.float32)


# ---------------------------------------------------------------------- one block, by torch's kernel
def _attend(q: Tensor, kv: Tensor, causal: bool, scale: float | None) -> tuple[Tensor, Tensor]:
    """Return output [B, H, rows, D] and log-sum-exp [B, H, rows] of a block; kv [2, B, K, columns, D]."""
    k, v = _for_each_query_head(q, kv)
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)


def _attend_backward(
    dout: Tensor, q: Tensor, out: Tensor, lse: Tensor, kv: Tensor, causal: bool, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the block's part of dQ [B, H, rows, D], and of dK and dV [B, K, columns, D]."""
    k, v = _for_each_query_head(q, kv)
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    dq, *dkv = backward(dout, q, k, v, out, lse, 0.0, causal, scale=scale)
    heads = kv.shape[2]
    return dq, *(each.unflatten(1, (heads, -1)).sum(2) for each in dkv)


def _for_each_query_head(q: Tensor, kv: Tensor) -> Tensor:
    """Repeat each key and value head for the query heads that share it, [2, B, K, ...] -> [2, B, H, ...]."""
    return kv.repeat_interleave(q.shape[1] // kv.shape[2], 2) if q.shape[1] > kv.shape[2] else kv


def check(q: Tensor, k: Tensor, v: Tensor, split: SequenceSplit, group: dist.ProcessGroup) -> None:
    """ValueError, a sentence with the numbers, when these are not one rank's part of the sequence."""
    t = split.length(group.rank())
    if group.size() != split.ranks:
        raise ValueError(f"the sequence is cut over {split.ranks} ranks, and the group has {group.size()}")
    if k.shape != v.shape or {q.shape[2], k.shape[2]} != {t} or q.shape[1] % k.shape[1]:
        shapes = ", ".join(f"{name} {list(each.shape)}" for name, each in (("q", q), ("k", k), ("v", v)))
        raise ValueError(
            f"{shapes}: rank {group.rank()} has {t} of the {split.tokens} tokens, so q is [B, H, {t}, D], k and v "
            f"[B, K, {t}, D], and K divides H"
        )
