"""What ranks run in the tests of tensor parallelism."""

from __future__ import annotations

from torch import Tensor, nn

VOCABULARY, BLOCK, BATCH, STEPS, MAX_NORM = 61, 8, 4, 10, 0.5
CHANNELS, HEADS, WIDTH = 16, 4, 6


class Grouped(nn.Module):
    """One attention of K key/value heads, with norms of queries and keys, between an embedding and a last layer."""

    def __init__(self, kv_heads: int) -> None:
        super().__init__()
        self.width, self.vocabulary = WIDTH, VOCABULARY
        self.tokens, self.norm = nn.Embedding(VOCABULARY, CHANNELS), nn.RMSNorm(CHANNELS)
        self.query = nn.Linear(CHANNELS, HEADS * WIDTH)
        self.key, self.value = (nn.Linear(CHANNELS, kv_heads * WIDTH) for _ in range(2))
        self.query_norm, self.key_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.out, self.head = nn.Linear(HEADS * WIDTH, CHANNELS), nn.Linear(CHANNELS, VOCABULARY)

    def forward(self, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tokens(ids)
        normed = self.norm(x)
        q, k, v = (layer(normed).unflatten(-1, (-1, WIDTH)) for layer in (self.query, self.key, self.value))
        q, k, v = (each.transpose(1, 2) for each in (self.query_norm(q), self.key_norm(k), v))
        repeated = q.shape[1] // k.shape[1]
        k, v = (each.repeat_interleave(repeated, 1) for each in (k, v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        logits = self.head(x + self.out(y.transpose(1, 2).flatten(-2)))
        return logits, self.loss(logits, targets)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def grouped_plan() -> dict:
    from lab_utils.strategies.model.tensor_parallel import HeadByHead, Heads, Loss, Row, TokenByToken, Vocabulary

    return {
        "{tokens,head}": Vocabulary(),
        "norm": TokenByToken(),
        "{query,key,value}": Heads("width"),
        "{query,key}_norm": HeadByHead(),
        "out": Row(),
        "": Loss("vocabulary"),
    }


def grouped(kv_heads: int) -> Grouped:
    import torch

    torch.manual_seed(0)
    return Grouped(kv_heads).double()


def gpt(**changes):
    """A small GPT in float64, the same on every rank; 61 tokens divide over no number of ranks."""
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    sizes = {"vocabulary": VOCABULARY, "block": BLOCK, "layers": 2, "channels": CHANNELS, "heads": HEADS}
    return GPT(GPTConfig(**sizes | changes)).double()


def gpt_plan() -> dict:
    from lab_utils.strategies.model.tensor_parallel import plans

    return plans.GPT


def batches(steps: int):
    """x, y [BATCH, BLOCK] of the global batch for each step; the first sequence has fewer targets that count."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randint(VOCABULARY, (BATCH, BLOCK + 1), generator=draw)
        y = x[:, 1:].clone()
        y[0, :5] = -100
        yield x[:, :-1], y


def train_serially(steps: int = STEPS, max_norm: float | None = MAX_NORM, make=gpt, **changes) -> dict:
    import torch

    from lab_utils.strategies import serial

    model = make(**changes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    for x, y in batches(steps):
        optimizer.zero_grad()
        loss = model(x, y)[1]
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return serial.snapshot(model, loss)


def train(
    mesh,
    sequence: bool,
    steps: int = STEPS,
    max_norm: float | None = MAX_NORM,
    make=gpt,
    plan=gpt_plan,
    attach=None,
    **changes,
) -> dict:
    """What parity compares after so many steps of the split model, on this rank's sequences."""
    import torch

    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.tensor_parallel import split
    from lab_utils.strategies.model.training import step

    model = split(make(**changes), plan(), mesh, sequence)
    if attach is not None:
        attach(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    for x, y in batches(steps):
        mine = [each.chunk(mesh.dp)[mesh.mine["dp"]] for each in (x, y)]
        loss = step(model, optimizer, *mine, mesh, max_norm)
    return placement.snapshot(model, loss, mesh)
