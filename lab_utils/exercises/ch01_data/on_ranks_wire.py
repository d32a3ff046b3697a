"""The part of chapter 01c's code check that runs on the ranks: call the reader's compressor on real gradients.

Also imported by the notebook's kernel (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab_utils.exercises.framework.on_ranks import _batch, _small_gpt, find

PART = 10  # 1 / PART of the entries are sent


def compressed(function: Callable | str, steps: int) -> dict[str, Any]:
    """Call the reader's `compress(gradient, kept, k)` on this rank's gradients of a small GPT, step after step.

    "strange": (tensor, description) of the first result that is not two tensors of the gradient's shape, else None.
    "steps": per step, name → (gradient, sent, kept), with kept after the step.
    """
    import torch

    model, compress = _small_gpt(seed=0), find(function)
    kept = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    found: dict[str, Any] = {"strange": None, "steps": []}
    for step in range(steps):
        found["steps"].append({})
        for name, gradient in _gradients(model, step).items():
            returned = compress(gradient.clone(), kept[name].clone(), entries(gradient.numel()))
            if said := _strange(returned, gradient):
                return found | {"strange": (name, said)}
            sent, kept[name] = (each.detach().clone() for each in returned)
            found["steps"][-1][name] = gradient, sent, kept[name]
    return found


def entries(numel: int) -> int:
    """k for a tensor of numel entries."""
    return max(1, numel // PART)


def _gradients(model, step: int) -> dict[str, Any]:
    model.zero_grad()
    _, (x, y) = _batch(step)
    model(x, y)[1].backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def _strange(returned: Any, gradient) -> str:
    """Describe a result that is not two tensors of the gradient's shape; "" otherwise."""
    import torch

    if not isinstance(returned, tuple) or len(returned) != 2:
        return type(returned).__name__
    for each in returned:
        if not isinstance(each, torch.Tensor):
            return f"a {type(each).__name__} in the pair"
        if each.shape != gradient.shape:
            return f"shape {list(each.shape)} in the pair"
    return ""
