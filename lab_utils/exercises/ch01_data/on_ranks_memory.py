"""The part of the memory exercises' checks that runs on the ranks: ZeRO-1 by hand, and clipping of pieces.

Also imported by the notebook's kernel (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab_utils.exercises.framework.on_ranks import LEARNING_RATE, _batch, _parameters, _small_gpt, find

MAX_NORM = 1.0
# Norms of the ranks' pieces: all different, one of them 0; their total is below MAX_NORM in the second case.
LARGE, SMALL = (3.0, 0.0, 1.0, 2.0), (0.3, 0.4, 0.0, 0.2)


def zero_steps(function: Callable | str, steps: int) -> dict[str, Any]:
    """Train the small GPT with the reader's ZeRO-1 step on this rank's shard, and with serial's on the whole batch.

    "step" and "serial" have one snapshot per step, "before" the initial parameters of both; "returned": results of the
    reader's step, tensors as numbers. The gradients in snapshots of "step" are serial's: a rank has only a piece of
    them, and they are not examined.
    """
    import torch
    import torch.distributed as dist

    from lab_utils.strategies import serial

    model, reference = _small_gpt(seed=0), _small_gpt(seed=0)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    piece = torch.nn.Parameter(flat.chunk(dist.get_world_size())[dist.get_rank()].clone())
    piece.grad = torch.zeros_like(piece)
    optimizer, reference_optimizer = (_momentum(each) for each in ([piece], reference.parameters()))
    found: dict[str, Any] = {"step": [], "serial": [], "returned": [], "before": _parameters(model)}
    for number in range(steps):
        whole, mine = _batch(number)
        returned = find(function)(model, piece, optimizer, *mine)
        found["returned"].append(returned.item() if isinstance(returned, torch.Tensor) else returned)
        expected = serial.snapshot(reference, serial.step(reference, reference_optimizer, *whole))
        found["serial"].append(expected)
        found["step"].append({**expected, "parameters": _parameters(model)})
    return found


def _momentum(parameters):
    """SGD with momentum: it has state, and its update shows a wrong factor on the gradient."""
    import torch

    return torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=0.9)


def clipped(function: Callable | str) -> list[dict[str, Any]]:
    """Call the reader's `clip(pieces, max_norm)` on pieces with known norms: a large gradient, then a small one.

    "given": norm of this rank's piece before; "scale": the factor applied to its gradient (None where it was 0);
    "straight": whether its direction is unchanged; "returned": the result, tensors of one element as numbers.
    """
    import torch
    import torch.distributed as dist

    called = []
    for norms in (LARGE, SMALL):
        given = norms[dist.get_rank() % len(norms)]
        pieces, before = _pieces(given)
        returned = find(function)(pieces, MAX_NORM)
        after = torch.cat([piece.grad for piece in pieces])
        scale = (after @ before / (before @ before)).item() if given else None
        straight = torch.allclose(after, before * (scale or 0.0), atol=1e-12)
        number = returned.item() if isinstance(returned, torch.Tensor) and returned.numel() == 1 else returned
        called.append({"given": given, "scale": scale, "straight": straight, "returned": number})
    return called


def _pieces(norm: float):
    """Two pieces whose gradients have this total norm, and their joined gradient."""
    import torch

    direction = torch.arange(1.0, 6.0, dtype=torch.float64)
    gradient = direction / direction.norm() * norm
    pieces = [torch.nn.Parameter(torch.zeros(numel, dtype=torch.float64)) for numel in (2, 3)]
    for piece, part in zip(pieces, gradient.split([2, 3]), strict=True):
        piece.grad = part.clone()
    return pieces, gradient
