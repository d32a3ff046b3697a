"""One attention result out of two over different keys.

Attention over keys 1 and keys 2 together is a weighted mean of the two results, with the weights exp(lse1) and
exp(lse2): lse = log Σ exp(score), by which each softmax has divided (Liu et al. 2023, arXiv 2310.01889, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor


def merge(out: Tensor, lse: Tensor, block_out: Tensor, block_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp over the keys of both: out [B, H, T, D], lse [B, H, T], in at least float32.

    Neither is ever exponentiated alone: exp of a score overflows float32 from 89 on, the weight is a sigmoid of the
    difference. A query needs a key in `out` or has lse = -inf there; not in both.
    """
    dtype = torch.promote_types(out.dtype, torch.float32)
    weight = torch.sigmoid(block_lse - lse).to(dtype)[..., None]  # of the block, [B, H, T, 1]
    return torch.lerp(out.to(dtype), block_out.to(dtype), weight), torch.logaddexp(lse, block_lse)
