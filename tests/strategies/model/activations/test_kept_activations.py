"""What autograd keeps, counted, is what the formulas say: line by line, the same bytes in the same module."""

from __future__ import annotations

import gc
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from lab_utils.gpt import GPT, GPTConfig
from lab_utils.strategies.mixed_precision import recompute
from lab_utils.strategies.model.activations import (
    PaperLayer,
    Term,
    gpt_ends,
    gpt_layer,
    kept_by,
    paper_layer,
)

B, T, C, H, V, LAYERS = 3, 8, 16, 4, 50, 2


def by_module(lines) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line in lines:
        found.setdefault(line.module, []).append(line.bytes)
    return found


# ---------------------------------------------------------------------- the paper's layer
@pytest.mark.parametrize("again", ["none", "selective", "full"])
def test_the_papers_layer_keeps_what_the_paper_says(again: str) -> None:
    layer = PaperLayer(C, H).bfloat16()
    recompute({"none": [], "selective": [layer.attention.core], "full": [layer]}[again])
    with kept_by(layer) as kept:
        out = layer(torch.randn(B, T, C, dtype=torch.bfloat16, requires_grad=True))
    statistics = [row for row in kept.rows if row.module.startswith("norm") and row.shape == (B, T, 1)]
    assert len(statistics) == (0 if again == "full" else 4) and {row.bytes for row in statistics} <= {2 * B * T}
    rest = [row for row in kept.rows if row not in statistics]
    assert by_module(rest) == by_module(paper_layer(B, T, C, H, recompute=again))
    out.float().sum().backward()
    assert kept.rows == ()


def test_the_papers_layer_computes_what_fused_attention_does() -> None:
    """Of two layers with equal weights and no dropout, one has the lab's block."""
    from lab_utils.gpt import Block

    torch.manual_seed(0)
    block = Block(GPTConfig(channels=C, heads=H, block=T)).double()
    layer = PaperLayer(C, H, dropout=0.0).double()
    layer.load_state_dict({**block.state_dict(), "attention.key.bias": torch.zeros(C)})
    x = torch.randn(B, T, C, dtype=torch.float64)
    torch.testing.assert_close(layer(x), block(x))


# ---------------------------------------------------------------------- the lab's GPT
def terms_of_gpt(again: str, **how) -> list[Term]:
    layer = gpt_layer(B, T, C, H, recompute=again, **how)
    blocks = [t._replace(module=f"blocks.{i}.{t.module}".rstrip(".")) for i, t in product(range(LAYERS), layer)]
    return [*blocks, *gpt_ends(B, T, C, V, **how)]


def gpt(again: str, dtype: torch.dtype, dropout: float) -> GPT:
    sizes = {"vocabulary": V, "block": T, "layers": LAYERS, "channels": C, "heads": H}
    model = GPT(GPTConfig(**sizes, dropout=dropout)).to(dtype)
    recompute({"none": [], "selective": [b.attention for b in model.blocks], "full": model.blocks}[again])
    return model


@pytest.mark.parametrize("again", ["none", "selective", "full"])
@pytest.mark.parametrize(
    ("dtype", "dropout"), [(torch.float32, 0.0), (torch.float64, 0.1), (torch.bfloat16, 0.0), (torch.bfloat16, 0.1)]
)
def test_the_labs_gpt_keeps_what_its_formula_says(again: str, dtype: torch.dtype, dropout: float) -> None:
    model = gpt(again, dtype, dropout)
    x, y = torch.randint(V, (2, B, T)).unbind()
    with kept_by(model) as kept:
        _, loss = model(x.clone(), y.clone())
    assert by_module(kept.rows) == by_module(terms_of_gpt(again, element=dtype.itemsize, dropout=dropout > 0))
    loss.backward()
    assert kept.bytes == 0


# ---------------------------------------------------------------------- counting
class Twice(nn.Module):
    """A linear layer whose input is kept by a product too, and a branch that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("scale", torch.full((4,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        self.linear(x).exp()  # its output would be kept, and is not, as nothing holds the graph
        return (self.linear(x) * x[:, :1] * self.scale).sum()


def test_a_storage_counts_once_and_a_view_as_its_storage() -> None:
    model, x = Twice(), torch.randn(6, 4, requires_grad=True)
    with kept_by(model) as kept:
        out = model(x[::2])
    rows = kept.rows
    assert [(row.module, row.shape, row.bytes) for row in rows] == [
        ("linear", (3, 4), 6 * 4 * 4),  # all of x, though every second row is used; the product keeps the same
        ("", (3, 4), 3 * 4 * 4),  # the linear layer's output, kept by the product; the buffer is the model's
    ]
    out.backward()
    assert kept.rows == ()


def test_counting_changes_no_gradient_and_leaves_no_hook() -> None:
    model = gpt("selective", torch.float64, 0.0)
    x = torch.randint(V, (B, T))

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(x, x)[1].backward()
        return [p.grad.clone() for p in model.parameters()]

    before = gradients()
    with kept_by(model) as kept:
        during = gradients()
    assert kept.bytes == 0
    assert all(map(torch.equal, before, during)) and all(map(torch.equal, before, gradients()))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_forward_that_raises_leaves_the_names_in_order() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 3))
    with kept_by(model) as kept:
        with pytest.raises(RuntimeError):
            model(torch.ones(2, 4))
        out = model[0](torch.ones(2, 4))
    gc.collect()
    assert [row.module for row in kept.rows] == ["0"] and out.requires_grad
