"""Options for every strategy: compute in bfloat16, and recompute activations instead of keeping them."""

from __future__ import annotations

from collections.abc import Iterable
from types import MethodType

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def compute_in_bfloat16(model: nn.Module) -> None:
    """Run matrix products in bfloat16; parameters, gradients, reductions and the optimizer stay float32.

    Micikevicius et al. 2018, "Mixed Precision Training" (ICLR), section 3.1: the float32 master weights. bfloat16 has
    float32's range, so the loss needs no scaling. Uses torch.autocast: casts are part of the graph. ValueError for a
    model in another dtype.
    """
    other = {p.dtype for p in model.parameters()} - {torch.float32}
    if other:
        raise ValueError(f"the model is {other.pop()}: master weights are float32, so call model.float() before")
    _wrap(model, _in_bfloat16)


def recompute(modules: Iterable[nn.Module]) -> None:
    """Keep only the inputs of each of these modules; their backward recomputes the rest.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174), section 4; uses torch's
    checkpoint, which also repeats dropout's random numbers.

    >>> recompute(model.blocks)
    """
    for module in modules:
        _wrap(module, _recomputed)


def _wrap(module: nn.Module, forward: object) -> None:
    # A method, unlike a closure, is rebound when the module is copied.
    if "forward" in vars(module):
        raise ValueError(f"this {type(module).__name__} has a forward of its own already: wrap the modules inside it")
    module.forward = MethodType(forward, module)


def _in_bfloat16(module: nn.Module, *args: object, **kwargs: object) -> object:
    with torch.autocast(next(module.parameters()).device.type, torch.bfloat16):
        return type(module).forward(module, *args, **kwargs)


def _recomputed(module: nn.Module, *args: object, **kwargs: object) -> object:
    if not torch.is_grad_enabled():
        return type(module).forward(module, *args, **kwargs)
    return checkpoint(type(module).forward, module, *args, use_reentrant=False, **kwargs)
