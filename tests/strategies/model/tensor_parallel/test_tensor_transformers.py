"""Hugging Face's GPT-2, Llama and Mixtral, built from a config, split over tp by a short plan."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from tensor_programs import batches
from torch import nn

from lab_utils.ranks import Ranks
from lab_utils.strategies import serial
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.parity import parity

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 61}


def make(which: str, kv_heads: int = 2, attn_pdrop: float = 0.0):
    import transformers

    torch.manual_seed(0)
    if which == "GPT2":
        config = transformers.GPT2Config(n_layer=2, n_head=4, n_embd=16, n_positions=16, vocab_size=61)
        config.attn_pdrop = attn_pdrop
        return transformers.GPT2LMHeadModel(config).double()
    sizes = SIZES | {"num_key_value_heads": kv_heads}
    if which == "MIXTRAL":
        config = transformers.MixtralConfig(**sizes, num_local_experts=4, experts_implementation="eager")
        model = transformers.MixtralForCausalLM(config)
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, tie_word_embeddings=True))
    for name, module in list(model.named_modules()):  # theirs compute in float32
        if type(module).__name__.endswith("RMSNorm"):
            above, _, last = name.rpartition(".")
            setattr(model.get_submodule(above), last, nn.RMSNorm(16, module.variance_epsilon))
    return model.double()


def train(model: nn.Module, sum_up, loss_of) -> torch.Tensor:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    for x, y in batches(3):
        optimizer.zero_grad()
        loss = loss_of(model(x).logits, y)
        loss.backward()
        sum_up()
        optimizer.step()
    return loss


@cache
def serially(which: str, **changes) -> dict:
    model = make(which, **changes)
    loss = train(model, lambda: None, lambda logits, y: F.cross_entropy(logits.flatten(0, 1), y.flatten()))
    return serial.snapshot(model, loss)


def on_ranks(which: str, mesh: Mesh, **changes) -> dict:
    from functools import partial

    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.tensor_parallel import plans, split

    model = split(make(which, **changes), getattr(plans, which), mesh)
    loss = train(model, partial(placement.sum_gradients, model, mesh), model.loss)
    return placement.snapshot(model, loss, mesh)


@pytest.mark.parametrize(
    ("which", "tolerance", "changes"),
    [("GPT2", 1e-10, {}), ("LLAMA", 1e-10, {}), ("LLAMA", 1e-10, {"kv_heads": 1}), ("MIXTRAL", 1e-5, {})],
    ids=["gpt2", "llama", "llama with one kv head", "mixtral"],  # whose router computes in float32
)
def test_equals_its_unsplit_self(which: str, tolerance: float, changes: dict, ranks2: Ranks) -> None:
    found = parity(serially(which, **changes), ranks2.run(on_ranks, which, Mesh(tp=2), **changes), tolerance)
    assert found.equal, found


@pytest.mark.parametrize("which", ["GPT2", "LLAMA", "MIXTRAL"])
def test_labels_are_shifted_as_in_the_unsplit_model(ranks2: Ranks, which: str) -> None:
    def losses(mesh: Mesh) -> tuple[float, float]:
        from lab_utils.strategies.model.tensor_parallel import plans, split

        model = split(make(which), getattr(plans, which), mesh).eval()
        ((x, _),) = batches(1)
        with pytest.raises(ValueError, match="generate with the unsplit model"):
            model.generate(x)
        shifted = nn.functional.pad(x[:, 1:], (0, 1), value=-100)
        return tuple(model(x, labels=x, **more).loss.item() for more in ({}, {"shift_labels": shifted}))

    ((x, _),) = batches(1)
    expected = make(which).eval()(x, labels=x).loss.item()
    for found in ranks2.run(losses, Mesh(tp=2)):
        assert found == pytest.approx((expected, expected), rel=1e-6)  # theirs in float32


def test_what_these_plans_leave_out_is_said() -> None:
    from lab_utils.strategies.model.tensor_parallel import plans
    from lab_utils.strategies.model.tensor_parallel.plan import At, Found

    model = make("GPT2", attn_pdrop=0.1)
    dropout = Found("attn_dropout", model.transformer.h[0].attn.attn_dropout, None)
    with pytest.raises(ValueError, match="attn_dropout .Dropout. has p = 0.1, which the model draws inside"):
        plans.GPT2["transformer.h.*.attn.attn_dropout"].split([dropout], At(Mesh(tp=2), False))
    with pytest.raises(ValueError, match="so sequence=True cannot cut them"):
        plans.GPT2[""].split([Found("", model, None)], At(Mesh(tp=2), sequence=True))
