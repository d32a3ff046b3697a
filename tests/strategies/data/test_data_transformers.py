"""The strategies take models that were not written for them: Hugging Face's GPT-2 and Llama, built from a config."""

from __future__ import annotations

import data_programs
import pytest

from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

STEPS = 3


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=16, vocab_size=256)
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    return GPT2LMHeadModel(config).double()


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=32, vocab_size=256
    )
    return LlamaForCausalLM(config).double()


def trained(which: str, strategy: str) -> dict:
    """Where the model stands after some steps on this rank's part of each batch of 4."""
    import torch
    import torch.distributed as dist

    group = dist.group.WORLD
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if strategy != "serial" else (0, 1)
    torch.manual_seed(rank)
    model = {"gpt2": gpt2, "llama": llama}[which]()
    layers = model.transformer.h if which == "gpt2" else model.model.layers
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    attach = data_programs.strategies(units=layers).get(strategy)
    attached = attach(model, optimizer, group) if attach else None
    for x, _ in data_programs.batches(STEPS):
        optimizer.zero_grad()
        mine = x[:4].chunk(ranks)[rank]
        logits = model(input_ids=mine).logits  # [b, T, V]; the loss that they compute themselves is float32
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), mine[:, 1:].flatten())
        loss.backward()
        optimizer.step()
    loss = loss.detach() / ranks
    if ranks > 1:
        dist.all_reduce(loss)
    return data_programs.rank_state(model, attached, loss, group)


@pytest.fixture(scope="module")
def serial_of(ranks2: Ranks) -> dict[str, dict]:
    return {which: ranks2.run(trained, which, "serial")[0] for which in ("gpt2", "llama")}


@pytest.mark.parametrize("strategy", ["buckets", "zero1", "zero2", "zero3"])
@pytest.mark.parametrize("which", ["gpt2", "llama"])
def test_models_of_others_equal_serial(ranks2: Ranks, serial_of: dict[str, dict], which: str, strategy: str) -> None:
    serial = serial_of[which]
    found = parity(serial, ranks2.run(trained, which, strategy), tolerance=1e-10)
    assert found.equal, found
    assert len(serial["gradients"]) > 15
