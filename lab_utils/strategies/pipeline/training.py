"""A step of a pipeline as that of serial training, and what parity compares of it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.comm.recorder import phase
from lab_utils.strategies.pipeline.runtime import Pipeline


def step(pipeline: Pipeline, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """One step on the whole batch x, y [B, T], as serial.step; the loss before the update, [], on every rank."""
    optimizer.zero_grad()
    loss = pipeline.run(x, y)
    with phase("update"):
        optimizer.step()
    return loss


def snapshot(pipeline: Pipeline, loss: Tensor) -> dict:
    """What parity compares, of the whole model on every rank: what others hold is fetched, what is held here is own."""
    mine = {
        "loss": loss.item(),
        "gradients": {n: p.grad.detach().clone() for n, p in pipeline.named_parameters() if p.grad is not None},
        "parameters": {n: p.detach().clone() for n, p in pipeline.named_parameters()},
    }
    everyones: list[dict] = [{}] * pipeline.group.size()
    dist.all_gather_object(everyones, mine, group=pipeline.group)
    parts = ("gradients", "parameters")
    joined = {part: {name: t for one in (*everyones, mine) for name, t in one[part].items()} for part in parts}
    return {"loss": mine["loss"], **joined}
