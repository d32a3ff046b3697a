"""Mixtral from a config of the transformers library: mapped, it is the same model; split, it trains as unsplit."""

from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace

import experts_programs as programs
import pytest
import torch

from lab_utils.ranks import Ranks
from lab_utils.strategies import serial
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model import placement
from lab_utils.strategies.model.experts import from_transformers
from lab_utils.strategies.model.experts.mixtral import transformers_state
from lab_utils.strategies.model.tensor_parallel import plans, split
from lab_utils.strategies.parity import parity

stacked = pytest.mark.skipif(int(version("transformers").partition(".")[0]) < 5, reason="experts are stacked from 5 on")


def mixtral(**changes):
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(programs.SEED)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2}
    kinds = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2, "vocab_size": 32}
    eager = {"experts_implementation": "eager"}  # their grouped products have no float64
    return MixtralForCausalLM(MixtralConfig(**sizes | kinds | eager | changes)).double()


def trained(degrees=None, mapped: bool = True, steps: int = 3) -> dict:
    """A snapshot after some steps, under the names of transformers where serial."""
    model, mesh = mixtral(), Mesh(**degrees) if degrees else None
    if mapped:
        from_transformers(model)
    if mesh is not None:
        split(model, plans.MIXTRAL_EXPERTS, mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for x, y in programs.batches(steps):
        optimizer.zero_grad()
        logits, wanted = model(input_ids=programs.part(x, mesh)).logits, programs.part(y, mesh)
        if mesh is None:
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        else:
            loss = model.loss(logits, wanted)
        loss.backward()
        if mesh is not None:
            placement.sum_gradients(model, mesh)
        optimizer.step()
    return serial.snapshot(model, loss) if mesh is None else placement.snapshot(model, loss, mesh)


def renamed(snapshot: dict) -> dict:
    parts = {part: transformers_state(snapshot[part]) for part in ("gradients", "parameters")}
    return snapshot | parts


@pytest.fixture(scope="module")
def theirs() -> dict:
    return trained(mapped=False)


@stacked
def test_mapped_it_is_the_same_model(theirs: dict) -> None:
    found = parity(theirs, [renamed(trained())])
    assert found.equal, found
    assert len([name for name in theirs["gradients"] if "experts.gate_up_proj" in name]) == 2


@stacked
def test_split_over_ep_and_tp_it_trains_as_theirs(ranks2: Ranks, theirs: dict) -> None:
    for degrees in ({"dp": 2, "ep": 2}, {"tp": 2}):
        found = parity(theirs, [renamed(each) for each in ranks2.run(trained, degrees)])
        assert found.equal, (degrees, found)


@stacked
def test_its_state_dict_loads_into_theirs_again() -> None:
    model, untouched = mixtral(), mixtral(initializer_range=0.5)
    state = transformers_state(from_transformers(model).state_dict())
    untouched.load_state_dict(state)  # strict
    x = torch.arange(8)[None]
    torch.testing.assert_close(untouched(input_ids=x).logits, model(input_ids=x).logits, rtol=1e-10, atol=1e-12)


@stacked
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"router_jitter_noise": 0.1}, r"model\.layers\.0\.mlp has router_jitter_noise=0.1: splits would draw others"),
        ({"output_router_logits": True}, "output_router_logits=True: that balance loss counts a rank's own tokens"),
        ({"hidden_act": "gelu"}, "model.layers.0.mlp has experts of GELUActivation: silu can be mapped"),
    ],
)
def test_what_cannot_be_mapped_is_said(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_transformers(mixtral(**changes))


def test_experts_that_are_not_stacked_are_said() -> None:
    block = type("MixtralSparseMoeBlock", (torch.nn.Module,), {"jitter_noise": 0})()
    block.experts = torch.nn.ModuleList()
    model = torch.nn.ModuleDict({"mlp": block})
    model.config = SimpleNamespace()
    with pytest.raises(ValueError, match="mlp has its experts one by one, as transformers 4 has: transformers 5"):
        from_transformers(model)


def test_a_plan_for_mixtures_says_which_module_is_none() -> None:
    with pytest.raises(ValueError, match=r"model\.layers\.0\.mlp \(MixtralSparseMoeBlock\) is no MixtureOfExperts"):
        split(mixtral(), plans.MIXTRAL_EXPERTS, Mesh())


def test_another_mixture_is_named() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM

    small = {"hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 1}
    sizes = {"intermediate_size": 8, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}
    qwen = Qwen2MoeForCausalLM(Qwen2MoeConfig(**small, **sizes, num_experts=2, num_experts_per_tok=1, vocab_size=8))
    with pytest.raises(ValueError, match=r"model\.layers\.0\.mlp is a Qwen2MoeSparseMoeBlock, which cannot be mapped"):
        from_transformers(qwen)
    llama = LlamaForCausalLM(LlamaConfig(**small, intermediate_size=8, vocab_size=8))
    with pytest.raises(ValueError, match="this LlamaForCausalLM has no mixture of experts to map"):
        from_transformers(llama)
