"""A GPT in plain torch: the model that the chapters train, shard and pipeline.

Shapes in comments:  B batch   T time, at most `block`   C channels   H heads   D = C / H   V vocabulary

Pre-norm Transformer with learned positions, initialised as GPT-2 (Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners", section 2.3): normal weights, and the two projections that write into the
residual stream smaller by sqrt(2 * layers), so that its variance does not grow with depth. GPT-2's standard
deviation of 0.02 is specific to its width; here it is sqrt(2 / 5C), 0.023 at GPT-2's C = 768 (Nguyen and
Salazar 2019, "Transformers without Tears", arXiv 1910.05895), without which a narrow GPT learns slowly.
Query, key and value are three linear layers: a column split of each is a split by heads (chapter 02).
A pipeline cuts at `embed`, `blocks` and `unembed` (chapter 03).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """Sizes of a GPT. ValueError, with the numbers, if they are inconsistent."""

    vocabulary: int = 256  # V
    block: int = 64  # longest T
    layers: int = 2
    channels: int = 96  # C
    heads: int = 4  # H
    dropout: float = 0.0
    tied: bool = True  # the output layer shares its weight with the token embedding

    def __post_init__(self) -> None:
        for name in ("vocabulary", "block", "layers", "channels", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: a GPT needs at least 1.")
        if self.channels % self.heads:
            raise ValueError(
                f"channels={self.channels} is not divisible by heads={self.heads}: {self.channels} % "
                f"{self.heads} = {self.channels % self.heads}; every head needs the same width."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} is not in [0, 1): it is the fraction that is dropped.")


class Attention(nn.Module):
    """Causal self-attention: position t attends to positions 0..t.

    The number of heads follows from the width of the three layers, so splitting their columns splits the heads.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.width, self.dropout = config.channels // config.heads, config.dropout
        self.query = nn.Linear(config.channels, config.channels)
        # No bias: softmax is invariant to a key bias, so its gradient would be only rounding noise.
        self.key = nn.Linear(config.channels, config.channels, bias=False)
        self.value = nn.Linear(config.channels, config.channels)
        self.out = nn.Linear(config.channels, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (  # [B, H, T, D]
            layer(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.out(self.attend(q, k, v).transpose(1, 2).flatten(-2))  # [B, T, C]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v [B, H, T, D] -> [B, H, T, D]; a model whose heads or tokens are split has its own (chapter 02)."""
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)


class MLP(nn.Module):
    """Two linear layers with a GELU between them, hidden width 4 C."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.channels, 4 * config.channels)
        self.down = nn.Linear(4 * config.channels, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))  # [B, T, C] -> [B, T, 4C] -> [B, T, C]


class Block(nn.Module):
    """One layer: attention, then MLP, each applied to the normalised residual stream and added to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(config.channels), Attention(config)
        self.norm2, self.mlp = nn.LayerNorm(config.channels), MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))  # [B, T, C]
        return x + self.dropout(self.mlp(self.norm2(x)))  # [B, T, C]


class GPT(nn.Module):
    """A decoder-only Transformer.

    >>> torch.manual_seed(0)
    >>> model = GPT(GPTConfig(vocabulary=256, block=64)).double()
    >>> logits, loss = model(x, y)                                 # x, y [B, T] -> [B, T, V], scalar
    >>> ids = model.generate(x[:1, :8], 100, generator=torch.Generator().manual_seed(0))  # [1, 108]
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.channels)
        self.positions = nn.Embedding(config.block, config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.channels)
        self.head = nn.Linear(config.channels, config.vocabulary, bias=False)
        if config.tied:
            self.head.weight = self.tokens.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw all weights from torch's random state; norms are reset to 1 and 0, biases to 0."""
        std = (2 / (5 * self.config.channels)) ** 0.5
        residual_std = std / (2 * self.config.layers) ** 0.5
        for name, parameter in self.named_parameters():  # a tied weight comes once
            if parameter.dim() == 2:
                writes_residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                nn.init.normal_(parameter, std=residual_std if writes_residual else std)
            else:
                nn.init.constant_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0)

    def embed(self, ids: Tensor) -> Tensor:
        """Token plus position: ids [B, T] -> [B, T, C]."""
        if ids.shape[-1] > self.config.block:
            raise ValueError(
                f"{ids.shape[-1]} tokens are longer than the model's block of {self.config.block}: "
                f"cut the text shorter or build the GPT with block={ids.shape[-1]}."
            )
        at = torch.arange(ids.shape[-1], device=ids.device)  # [T]
        return self.dropout(self.tokens(ids) + self.positions(at))

    def unembed(self, x: Tensor) -> Tensor:
        """Last norm and output layer: [B, T, C] -> logits [B, T, V]."""
        return self.head(self.norm(x))

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """ids, targets [B, T] int64 -> logits [B, T, V], and the mean cross entropy in nats per token."""
        x = self.embed(ids)  # [B, T, C]
        for block in self.blocks:
            x = block(x)  # [B, T, C]
        logits = self.unembed(x)  # [B, T, V]
        return logits, None if targets is None else self.loss(logits, targets)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy, [B, T, V], [B, T] -> []; a model whose logits are split has its own (chapter 02)."""
        return cross_entropy(logits, targets)

    @torch.no_grad()
    def generate(
        self, ids: Tensor, tokens: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Append `tokens` sampled tokens, [B, T] -> [B, T + tokens]. Temperature 0 takes the likeliest."""
        if temperature < 0:
            raise ValueError(f"temperature={temperature} is negative: 0 takes the likeliest token, 1 samples.")
        was_training = self.training
        self.eval()
        for _ in range(tokens):
            logits = self(ids[:, -self.config.block :])[0][:, -1]  # [B, V]
            if temperature == 0:
                new = logits.argmax(-1, keepdim=True)  # [B, 1]
            else:
                new = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)  # [B, 1]
            ids = torch.cat((ids, new), dim=1)
        self.train(was_training)
        return ids


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean in nats per token, [B, T, V], [B, T] -> []; at least in float32, as bfloat16 has only 8 bits."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return F.cross_entropy(logits.flatten(0, -2).to(dtype), targets.flatten())
