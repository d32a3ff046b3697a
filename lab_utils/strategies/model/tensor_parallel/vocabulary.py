"""Embedding and cross-entropy over a vocabulary that the ranks of tp share out: no rank has logits of the whole.

Shapes:  B batch   T tokens of the whole sequence   C channels   V vocabulary   n ranks of tp   N = B · T

Rank r has the tokens ⌊r·V/n⌋ to ⌊(r+1)·V/n⌋ - 1 (Shoeybi et al. 2019, arXiv 1909.08053, section 3), so n need not
divide V.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model.placement import BATCH_AXES
from lab_utils.strategies.model.tensor_parallel.operators import reduce, reduce_scatter


def first_token(vocabulary: int, mesh: Mesh) -> int:
    """Return the first token of this rank."""
    return vocabulary * mesh.mine["tp"] // mesh.tp


class VocabularyEmbedding(nn.Module):
    """This rank's rows of an embedding: ids [B, T] -> [B, T, C] on all ranks (with sequence parallelism [B, T/n, C]).

    A token of another rank contributes zeros, so the sum over the ranks has each token's row once.

    weight      [V/n, C]
    vocabulary  V
    padding     the token whose row gets no gradient, None for none
    """

    def __init__(
        self, weight: nn.Parameter, vocabulary: int, mesh: Mesh, *, padding: int | None = None, sequence: bool = False
    ) -> None:
        super().__init__()
        self.weight, self.vocabulary, self.mesh = weight, vocabulary, mesh
        self.padding, self.sequence = padding, sequence

    def forward(self, ids: Tensor) -> Tensor:
        first, rows = first_token(self.vocabulary, self.mesh), self.weight.shape[0]
        at = ids - first
        elsewhere = (at < 0) | (at >= rows)
        padding = None if self.padding is None or not 0 <= self.padding - first < rows else self.padding - first
        y = F.embedding(at.masked_fill(elsewhere, 0), self.weight, padding)  # [B, T, C]
        y = y.masked_fill(elsewhere.unsqueeze(-1), 0)
        group = self.mesh.group("tp")
        return reduce_scatter(y, group) if self.sequence else reduce(y, group)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]} of {self.vocabulary}, {self.weight.shape[1]}, of tp = {self.mesh.tp}"


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    mesh: Mesh,
    vocabulary: int,
    *,
    real: int | None = None,
    label_smoothing: float = 0.0,
    ignored: int = -100,
) -> Tensor:
    """Return this rank's part of the global batch's mean in nats per token, []: its sum / the number of all targets.

    The same on all ranks of tp; the sum over dp and cp is F.cross_entropy of the whole batch.

    logits      [.., V/n], this rank's columns
    targets     [..], tokens of the whole vocabulary
    vocabulary  V, the columns of all ranks
    real        tokens that exist, where V was padded up: the columns from there on are left out
    ignored     the target that does not count

    ValueError for a target that is no token.
    """
    logits, targets = logits.flatten(0, -2), targets.flatten()
    real = vocabulary if real is None else real
    counted = (targets != ignored).sum()
    if mesh.dp * mesh.cp > 1:
        dist.all_reduce(counted, group=mesh.group(*BATCH_AXES))
    if mesh.tp == 1:
        logits = logits[:, :real].to(torch.promote_types(logits.dtype, torch.float32))
        smoothed = {"ignore_index": ignored, "label_smoothing": label_smoothing, "reduction": "sum"}
        return F.cross_entropy(logits, targets, **smoothed) / counted
    lost = (targets != ignored) & ((targets < 0) | (targets >= real))
    if lost.any():
        raise ValueError(f"target {targets[lost][0].item()} is no token: a vocabulary of {real} has 0 to {real - 1}")
    first = first_token(vocabulary, mesh)
    tokens = max(0, min(logits.shape[-1], real - first))  # of this rank that exist
    losses = _CrossEntropy.apply(logits, targets, first, tokens, real, label_smoothing, ignored, mesh.group("tp"))
    return losses.sum() / counted


class _CrossEntropy(torch.autograd.Function):
    """loss = log Σ_v exp z_v - (1 - ε) z_t - ε/V Σ_v z_v, with target t and label smoothing ε, per target [N].

    Each sum over v is a sum over the ranks of a sum over their own columns, and z_t is on one of them: two small
    all-reduces, the largest logit [N] and these sums [2, N] (3 with ε), replace a gather of the logits [N, V].
    dloss/dz_v = exp(z_v) / Σ_v exp z_v - (1 - ε) [v = t] - ε/V needs nothing of other ranks any more. The loss is the
    same on all ranks and counts once, so backward sums nothing.
    """

    @staticmethod
    def forward(
        ctx, logits: Tensor, targets: Tensor, first: int, tokens: int, real: int, smoothing: float, ignored: int, group
    ) -> Tensor:
        z = logits[:, :tokens].to(torch.promote_types(logits.dtype, torch.float32))
        top = z.amax(-1) if tokens else z.new_full(z.shape[:1], -torch.inf)
        dist.all_reduce(top, dist.ReduceOp.MAX, group=group)
        z = z - top[:, None]
        counts = targets != ignored
        rows = (counts & (targets >= first) & (targets < first + tokens)).nonzero()[:, 0]  # whose target is here
        at = targets[rows] - first
        sums = z.new_zeros(3 if smoothing else 2, len(z))
        sums[1, rows] = z[rows, at]
        if smoothing:
            sums[2] = z.sum(-1)
        sums[0] = z.exp_().sum(-1)
        dist.all_reduce(sums, group=group)
        losses = sums[0].log() - (1 - smoothing) * sums[1] - (smoothing / real * sums[2] if smoothing else 0)
        ctx.save_for_backward(z.div_(sums[0][:, None]), counts, rows, at)
        ctx.shape, ctx.dtype, ctx.smoothing, ctx.real = logits.shape, logits.dtype, smoothing, real
        return losses * counts

    @staticmethod
    def backward(ctx, dlosses: Tensor) -> tuple:
        softmax, counts, rows, at = ctx.saved_tensors
        scale = (dlosses * counts)[:, None]
        dz = softmax * scale
        dz[rows, at] -= (1 - ctx.smoothing) * scale[rows, 0]
        if ctx.smoothing:
            dz -= ctx.smoothing / ctx.real * scale
        dz = F.pad(dz, (0, ctx.shape[-1] - dz.shape[-1]))  # what is no token gets no gradient
        return dz.to(ctx.dtype), *(None,) * 7
