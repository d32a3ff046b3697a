"""A snapshot of a sharded model, as serial's: what is in pieces is gathered, for parity."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lab_utils.strategies import serial
from lab_utils.strategies.data.buckets.bucket import views
from lab_utils.strategies.data.zero.checkpoint import Sharded


def snapshot(model: nn.Module, loss: Tensor, attached: object = None) -> dict:
    """Return what parity compares, whole on every rank: the loss, every gradient and every parameter, by name.

    attached   a stage of ZeRO, whose pieces are gathered; anything else leaves the model as serial has it, or as FSDP2
    """
    if not hasattr(attached, "flats"):
        found = serial.snapshot(model, loss)
        return {part: _whole(each) if isinstance(each, dict) else each for part, each in found.items()}
    state = attached.state_dict() if hasattr(attached, "state_dict") else model.state_dict()
    parameters = {name: state[name].detach().clone() for name, _ in model.named_parameters()}
    return {"loss": loss.item(), "gradients": _gradients(attached), "parameters": parameters}


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.full_tensor() if isinstance(each, DTensor) else each for name, each in tensors.items()}


def _gradients(zero: Sharded) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for flat in zero.flats:
        whole = torch.empty(flat.whole.shape, dtype=flat.piece.dtype, device=flat.piece.device)
        dist.all_gather_single(whole, flat.piece.grad, group=zero.group)
        found |= zip(flat.names, views(whole, flat.shapes), strict=True)
    return found
