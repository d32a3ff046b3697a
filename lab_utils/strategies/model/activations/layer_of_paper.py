"""The layer that the published formulas count, op for op: softmax and each dropout as kernels of their own.

Korthikanti et al. 2022 (arXiv 2205.05198), figure 2 and section 4.1. In bfloat16 it keeps what `paper_layer` says, and
the statistics of its norms.

Letters:  B batch   T tokens   C channels   H heads   D = C / H
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab_utils.strategies.model.tensor_parallel.plan import Plan
from lab_utils.strategies.model.tensor_parallel.splits import Column, Heads, Row, TokenByToken

# Split over tp it keeps what the paper says. It is for counting: masks are drawn per rank, alike or not as it happens.
PAPER_PLAN: Plan = {
    "norm{1,2}": TokenByToken(),
    "attention.{query,key,value}": Heads("width"),
    "attention.out": Row(),
    "mlp.up": Column(),
    "mlp.down": Row(),
}


class Dropout(nn.Module):
    """Dropout that keeps a mask of one byte per element, as on GPUs; nn.Dropout on a CPU keeps one as wide as x."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        return torch.native_dropout(x, self.probability, self.training)[0]


class Scores(nn.Module):
    """Products of queries and keys, -inf for keys behind the query: [B, H, T, D] twice -> [B, H, T, T]."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        later = torch.full(q.shape[-2:-1] * 2, float("-inf"), dtype=q.dtype, device=q.device).triu(1)
        return q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + later


class Mix(nn.Module):
    """Values, weighted: [B, H, T, T], [B, H, T, D] -> [B, H, T, D]."""

    def forward(self, weights: Tensor, v: Tensor) -> Tensor:
        return weights @ v


class Core(nn.Module):
    """Attention between its projections: what selective recomputation runs again (section 5)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.scores, self.softmax, self.dropout, self.mix = Scores(), nn.Softmax(-1), Dropout(dropout), Mix()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.mix(self.dropout(self.softmax(self.scores(q, k))), v)


class Attention(nn.Module):
    """Causal self-attention, [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.width = channels // heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        self.core = Core(dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (  # [B, H, T, D]
            layer(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.out(self.core(q, k, v).transpose(1, 2).flatten(-2))


class MLP(nn.Module):
    """Two linear layers with a GELU between them, hidden width 4 C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up, self.gelu, self.down = nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.gelu(self.up(x)))


class PaperLayer(nn.Module):
    """One layer, [B, T, C] -> [B, T, C]; `layer.attention.core` is what selective recomputation is for.

    >>> layer = PaperLayer(channels=64, heads=4).bfloat16()
    >>> recompute([layer.attention.core])          # selective
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(channels), Attention(channels, heads, dropout)
        self.norm2, self.mlp = nn.LayerNorm(channels), MLP(channels)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout1(self.attention(self.norm1(x)))
        return x + self.dropout2(self.mlp(self.norm2(x)))
