"""Serial training: the reference that every strategy must equal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
) -> Tensor:
    """Run one step on the whole batch x, y [B, T]; return the loss before the update, []."""
    optimizer.zero_grad()
    with phase("forward"):
        _, loss = model(x, y)
    with phase("backward"):
        loss.backward()
    with phase("update"):
        optimizer.step()
    return loss.detach()


def snapshot(model: nn.Module, loss: Tensor) -> dict:
    """Copy what parity compares: the loss, every gradient and every parameter, by name."""
    named = {_plain(name): parameter for name, parameter in model.named_parameters()}
    return {
        "loss": loss.item(),
        "gradients": {name: p.grad.detach().clone() for name, p in named.items() if p.grad is not None},
        "parameters": {name: p.detach().clone() for name, p in named.items()},
    }


def _plain(name: str) -> str:
    """Strip the prefix that DDP or torch.compile adds."""
    return name.removeprefix("_orig_mod.").removeprefix("module.")
