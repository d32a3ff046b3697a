"""A step of a model that is split over a mesh: the counterpart of serial.step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.mesh import Mesh
from lab_utils.strategies.model import placement


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, mesh: Mesh, max_norm: float | None = None
) -> Tensor:
    """Run one step on this rank's x, y; return its part of the loss before the update, []: their sum is the loss.

    x, y      [B/dp, T], the same on all ranks of tp
    max_norm  clip the gradient of the whole model to this norm
    """
    optimizer.zero_grad()
    with phase("forward"):
        _, loss = model(x, y)
    with phase("backward"):
        loss.backward()
    with phase("aggregate"):
        placement.sum_gradients(model, mesh)
        if max_norm is not None:
            placement.clip(model, max_norm, mesh)
    with phase("update"):
        optimizer.step()
    return loss.detach()
