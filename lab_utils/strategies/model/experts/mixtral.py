"""Mixtures of the transformers library, as this folder's: the same weights, which expert_parallel then splits.

transformers 5 stacks the experts as Experts does: `experts.gate_up_proj` [E, 2 I, C] is `up`, `down_proj` [E, C, I] is
`down`, and `gate.weight` [E, C] the router's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lab_utils.strategies.model.experts.layer import MixtureOfExperts

_OURS = {"router.weight": "gate.weight", "experts.up": "experts.gate_up_proj", "experts.down": "experts.down_proj"}


def from_transformers(model: nn.Module) -> nn.Module:
    """Replace each mixture in a model of transformers by a MixtureOfExperts of its weights; return the model.

    >>> model = split(from_transformers(MixtralForCausalLM(config)), plans.MIXTRAL_EXPERTS, mesh)

    The parameters stay the same objects, the outputs the same. ValueError, a sentence, for a mixture that cannot be
    mapped, and for a model without one.
    """
    found = [(name, module) for name, module in model.named_modules() if _is_mixture(module)]
    if not found:
        raise ValueError(f"this {type(model).__name__} has no mixture of experts to map")
    if getattr(model.config, "output_router_logits", False):
        raise ValueError(
            "output_router_logits=True: that balance loss counts a rank's own tokens; set it to False, and `balance` "
            "of each MixtureOfExperts to router_aux_loss_coef"
        )
    mapped = [(name, _mapped(name, block)) for name, block in found]
    for name, layer in mapped:
        model.set_submodule(name, layer)
    return model


def transformers_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of the mapped model, whole, under the names of transformers."""
    return {_named(name): tensor for name, tensor in state.items()}


def _named(name: str) -> str:
    ours = next((end for end in _OURS if name.endswith(f".{end}")), None)
    return name if ours is None else name.removesuffix(ours) + _OURS[ours]


def _is_mixture(module: nn.Module) -> bool:
    return isinstance(getattr(module, "experts", None), nn.Module) and not isinstance(module, MixtureOfExperts)


def _mapped(name: str, block: nn.Module) -> MixtureOfExperts:
    kind = type(block).__name__
    if kind not in _KINDS:
        raise ValueError(f"{name} is a {kind}, which cannot be mapped to MixtureOfExperts: {', '.join(_KINDS)} can")
    return _KINDS[kind](name, block).train(block.training)


def _mixtral(name: str, block: nn.Module) -> MixtureOfExperts:
    """Its scores are float32 whatever the model's dtype is."""
    if block.jitter_noise:
        raise ValueError(f"{name} has router_jitter_noise={block.jitter_noise}: splits would draw others; set it to 0")
    if not hasattr(block.experts, "gate_up_proj"):
        raise ValueError(f"{name} has its experts one by one, as transformers 4 has: transformers 5 stacks them")
    up, down = block.experts.gate_up_proj, block.experts.down_proj
    if not isinstance(block.experts.act_fn, nn.SiLU) and type(block.experts.act_fn).__name__ != "SiLUActivation":
        raise ValueError(f"{name} has experts of {type(block.experts.act_fn).__name__}: silu can be mapped")
    with torch.device("meta"):
        layer = MixtureOfExperts(up.shape[2], down.shape[2], len(up), block.top_k, dtype=torch.float32)
    layer.router.weight, layer.experts.up, layer.experts.down = block.gate.weight, up, down
    layer.forget()
    return layer


_KINDS: dict[str, Callable[[str, nn.Module], MixtureOfExperts]] = {"MixtralSparseMoeBlock": _mixtral}
