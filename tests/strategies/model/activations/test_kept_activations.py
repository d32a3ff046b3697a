"""What autograd keeps, counted, is what the formulas say: line by line, the same bytes in the same module."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from kept_programs import LAYERS, B, C, H, T, V, gpt, kept_by_gpt, kept_by_papers_layer, kept_when_split
from torch import Tensor, nn

from lab_utils.gpt import Block, GPTConfig
from lab_utils.ranks import Ranks
from lab_utils.strategies.model.activations import Kept, PaperLayer, gpt_ends, gpt_layer, kept_by, paper_layer

AGAIN = ["none", "selective", "full"]


def by_module(lines) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line in lines:
        found.setdefault(line.module, []).append(line.bytes)
    return found


# ---------------------------------------------------------------------- the paper's layer
@pytest.mark.parametrize("again", AGAIN)
def test_the_papers_layer_keeps_what_the_paper_says(again: str) -> None:
    assert_as_published(again, kept_by_papers_layer(again), tp=1, sequence=False)


def assert_as_published(again: str, rows: Sequence[Kept], tp: int, sequence: bool) -> None:
    """What the norms keep besides, the paper leaves out: it is small."""
    tokens = T // tp if sequence else T
    statistics = [row for row in rows if row.module.startswith("norm") and row.shape == (B, tokens, 1)]
    assert [row.bytes for row in statistics] == [2 * B * tokens] * (0 if again == "full" else 4)
    rest = [row for row in rows if row not in statistics]
    assert by_module(rest) == by_module(paper_layer(B, T, C, H, recompute=again, tp=tp, sequence=sequence))


def test_the_papers_layer_computes_what_fused_attention_does() -> None:
    """Of two layers with equal weights and no dropout, one has the lab's block."""
    torch.manual_seed(0)
    block = Block(GPTConfig(channels=C, heads=H, block=T)).double()
    layer = PaperLayer(C, H, dropout=0.0).double()
    layer.load_state_dict({**block.state_dict(), "attention.key.bias": torch.zeros(C)})
    x = torch.randn(B, T, C, dtype=torch.float64)
    torch.testing.assert_close(layer(x), block(x))


# ---------------------------------------------------------------------- the lab's GPT
def assert_as_the_labs_formula(again: str, rows: Sequence[Kept], **how) -> None:
    here = {name: how.pop(name) for name in ("targets_here",) if name in how}
    layer = gpt_layer(B, T, C, H, recompute=again, **how)
    blocks = [t._replace(module=f"blocks.{i}.{t.module}".rstrip(".")) for i, t in product(range(LAYERS), layer)]
    assert by_module(rows) == by_module([*blocks, *gpt_ends(B, T, C, V, **how, **here)])


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize(
    ("dtype", "dropout"), [("float32", 0.0), ("float64", 0.1), ("bfloat16", 0.0), ("bfloat16", 0.1)]
)
def test_the_labs_gpt_keeps_what_its_formula_says(again: str, dtype: str, dropout: float) -> None:
    rows, _ = kept_by_gpt(again, dtype, dropout)
    assert_as_the_labs_formula(again, rows, element=getattr(torch, dtype).itemsize, dropout=dropout > 0)


@pytest.mark.parametrize("sequence", [False, True], ids=["tp alone", "sequence parallel"])
@pytest.mark.parametrize("tp", [2, 4])
def test_each_rank_of_tp_keeps_what_the_formulas_say(ranks4: Ranks, tp: int, sequence: bool) -> None:
    cases = [(again, dtype, dropout) for again in AGAIN for dtype, dropout in (("float32", 0.0), ("bfloat16", 0.1))]
    for found in ranks4.run(kept_when_split, tp, sequence, cases):
        for (again, dtype, dropout), (of_paper, of_gpt, here) in zip(cases, found, strict=True):
            how = {"tp": tp, "sequence": sequence}
            assert_as_published(again, of_paper, **how)
            how |= {"element": getattr(torch, dtype).itemsize, "dropout": dropout > 0, "targets_here": here}
            assert_as_the_labs_formula(again, of_gpt, **how)


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
    model = gpt("selective", "float64", 0.0)
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
    assert [row.module for row in kept.rows] == ["0"] and out.requires_grad
