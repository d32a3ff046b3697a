"""What runs on the ranks for parameters: the reader's replicas, ZeRO-1 by hand, and clipping. Loaded there only."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.exercises.framework.on_ranks_training import batch, number_of, one_step, parameters_of, sgd, small_gpt
from lab_utils.exercises.framework.readers_function import Function, find
from lab_utils.strategies import serial

# Norms of the ranks' pieces: all different, one of them 0; in the second case their total is below the limit.
LARGE, SMALL = (3.0, 0.0, 1.0, 2.0), (0.3, 0.4, 0.0, 0.2)


def replicated(function: Function) -> dict[str, Any]:
    """Call the reader's `replicate` on replicas from different seeds, then run one correct step on each shard.

    "before" and "replica": the parameters before and after replicate; "step": snapshot after the step; "serial": the
    same for one step of this rank's replica on the whole batch.
    """
    model = small_gpt(seed=100 + dist.get_rank())
    before = parameters_of(model)
    find(function)(model)
    replica, reference = parameters_of(model), deepcopy(model)
    return {"before": before, "replica": replica, **one_step(model, reference, *batch(0))}


def zero_steps(function: Function, steps: int) -> dict[str, Any]:
    """Train the small GPT with the reader's ZeRO-1 step on this rank's shard, and with serial's on the whole batch.

    "step" and "serial" have one snapshot per step, "before" the initial parameters of both; "returned": results of the
    reader's step, tensors as numbers. The gradients in snapshots of "step" are serial's: a rank has only a piece of
    them, and they are not examined.
    """
    model, reference = small_gpt(), small_gpt()
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    piece = nn.Parameter(flat.chunk(dist.get_world_size())[dist.get_rank()].clone())
    piece.grad = torch.zeros_like(piece)
    optimizer, reference_optimizer = (sgd(each, momentum=0.9) for each in ([piece], reference.parameters()))
    found: dict[str, Any] = {"step": [], "serial": [], "returned": [], "before": parameters_of(model)}
    for number in range(steps):
        whole, mine = batch(number)
        found["returned"].append(number_of(find(function)(model, piece, optimizer, *mine)))
        expected = serial.snapshot(reference, serial.step(reference, reference_optimizer, *whole))
        found["serial"].append(expected)
        found["step"].append({**expected, "parameters": parameters_of(model)})
    return found


def clipped(function: Function, max_norm: float) -> list[dict[str, Any]]:
    """Call the reader's `clip(pieces, max_norm)` on pieces with known norms: a large gradient, then a small one.

    "given": norm of this rank's piece before; "scale": the factor applied to its gradient (None where it was 0);
    "straight": whether its direction is unchanged; "returned": the result, tensors of one element as numbers.
    """
    called = []
    for norms in (LARGE, SMALL):
        given = norms[dist.get_rank() % len(norms)]
        pieces, before = _pieces(given)
        returned = number_of(find(function)(pieces, max_norm))
        after = torch.cat([piece.grad for piece in pieces])
        scale = (after @ before / (before @ before)).item() if given else None
        straight = torch.allclose(after, before * (scale or 0.0), atol=1e-12)
        called.append({"given": given, "scale": scale, "straight": straight, "returned": returned})
    return called


def _pieces(norm: float) -> tuple[list[nn.Parameter], Tensor]:
    """Return two pieces whose gradients have this total norm, and their joined gradient."""
    direction = torch.arange(1.0, 6.0, dtype=torch.float64)
    gradient = direction / direction.norm() * norm
    pieces = [nn.Parameter(torch.zeros(numel, dtype=torch.float64)) for numel in (2, 3)]
    for piece, part in zip(pieces, gradient.split([2, 3]), strict=True):
        piece.grad = part.clone()
    return pieces, gradient
