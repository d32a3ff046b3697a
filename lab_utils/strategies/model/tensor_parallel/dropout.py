"""Dropout whose masks are parts of one whole mask, the one that serial training draws.

Activations that all ranks of tp hold must lose the same elements on each, or the ranks' copies part; activations of
which each rank holds a part (its heads; with sequence parallelism its tokens; the sequences of its dp) must lose
different ones. Both follow if every rank draws the whole mask, from equal random states, and keeps its own part: so the
masks do not depend on the number of ranks, and recomputing, which restores the random state, repeats them. The price is
to draw n masks' worth of numbers. (Megatron-LM keeps two random states instead, one equal over tp and one not.)

torch.manual_seed with one seed on all ranks makes the random states equal, and each step leaves them equal, as long as
all ranks of dp hold as many sequences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from zlib import crc32

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.strategies.mesh import Mesh

Cut = Mapping[int, tuple[str, ...]]  # {dim: the axes of the mesh along which it is cut, the outermost first}


def mask(like: Tensor, p: float, mesh: Mesh, cut: Cut) -> Tensor:
    """Return this rank's part of the whole dropout mask: 0 with probability p, else 1 / (1 - p).

    like  a tensor of this rank's part's shape
    """
    shape, ranks, place = list(like.shape), {}, {}
    for dim, axes in cut.items():
        ranks[dim], place[dim] = math.prod(mesh.degrees[axis] for axis in axes), 0
        for axis in axes:
            place[dim] = place[dim] * mesh.degrees[axis] + mesh.mine[axis]
        shape[dim] *= ranks[dim]
    drawn = like.new_empty(shape).bernoulli_(1 - p)
    for dim in cut:
        drawn = drawn.narrow(dim, place[dim] * like.shape[dim], like.shape[dim])
    return drawn / (1 - p) if p < 1 else drawn  # all zeros


class CutDropout(nn.Module):
    """nn.Dropout of activations that are cut as `cut` says."""

    def __init__(self, p: float, mesh: Mesh, cut: Cut) -> None:
        super().__init__()
        self.p, self.mesh, self.cut = p, mesh, cut

    def forward(self, x: Tensor) -> Tensor:
        return x * mask(x, self.p, self.mesh, self.cut) if self.training and self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p}, cut={dict(self.cut)}"


def attend(q: Tensor, k: Tensor, v: Tensor, p: float, mesh: Mesh) -> Tensor:
    """Return causal attention [B, H/n, T, D] with dropout of the weights [B, H/n, T, T] of this rank's heads."""
    tokens = q.shape[-2]
    scores = q @ k.mT / q.shape[-1] ** 0.5
    future = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).triu(1)
    weights = scores.masked_fill(future, -torch.inf).softmax(-1)
    return (weights * mask(weights, p, mesh, {0: ("dp",), 1: ("tp",)})) @ v


def attend_with_cut_dropout(attention: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attend` of lab_utils.gpt's Attention, whose heads are cut; `attention.mesh` says how."""
    if attention.training and attention.dropout:
        return attend(q, k, v, attention.dropout, attention.mesh)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def check_random_states(mesh: Mesh, device: torch.device) -> None:
    """ValueError when the random states of this rank's group of tp differ. All ranks call it together."""
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    mine = torch.tensor([crc32(state.numpy().tobytes())], device=device)
    everyones = [torch.zeros_like(mine) for _ in range(mesh.tp)]
    dist.all_gather(everyones, mine, group=mesh.group("tp"))
    if len({each.item() for each in everyones}) > 1:
        raise ValueError(
            f"the random states of the {mesh.tp} ranks of tp differ, and so would the dropout of what they all hold: "
            "call torch.manual_seed with the same seed on all ranks before the first step"
        )
