"""What runs on the ranks for 01.16: backwards of a small model with the reader's hooks, and the same in serial."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.exercises.framework.on_ranks import BATCH
from lab_utils.exercises.framework.on_ranks_training import gradients_of
from lab_utils.exercises.framework.readers_function import Function, find

WIDTHS = (12, 40, 24, 36, 16, 44, 20)  # no two gradients of one size, so that messages in another order differ in size


class Tower(nn.Module):
    """Linear layers of different widths; returns (output, mean squared error), as the GPT does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(WIDTHS))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            x = layer(x).tanh()
        return x, (x - y).square().mean()


def tower() -> Tower:
    """Return the same model on every rank, and leave the reader's random state unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tower()


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Return x, y of a step's whole batch, another in each step."""
    x = torch.arange(step, step + BATCH * WIDTHS[0], dtype=torch.float64).view(BATCH, WIDTHS[0])
    return x.sin(), x[:, :1].cos().expand(BATCH, WIDTHS[-1])


def hooked(function: Function, least_bytes: int, steps: int) -> dict[str, Any]:
    """Run backwards with the hooks of the reader's `my_buckets(model, least_bytes)`; `finish()` follows each.

    "strange": the type that my_buckets returned in place of a function, else "". Per step, by name: "found", the
    gradients after finish(); "own", those of this rank's shard alone; "serial", the whole batch's.
    """
    model, reference = tower(), tower()
    finish = find(function)(model, least_bytes)
    if not callable(finish):
        return {"strange": type(finish).__name__}
    result: dict[str, Any] = {"strange": "", "found": [], "own": [], "serial": []}
    for step in range(steps):
        whole = batch(step)
        mine = [part.chunk(dist.get_world_size())[dist.get_rank()] for part in whole]
        model.zero_grad(set_to_none=False)  # a bucket that was left from the last step finds numbers, not None
        with phase(f"forward {step}"):
            _, loss = model(*mine)
        with phase(f"backward {step}"):
            loss.backward()
        with phase(f"finish {step}"):
            finish()
        named = model.named_parameters()
        result["found"].append({name: p.grad.detach().clone() for name, p in named if p.grad is not None})
        result["own"].append(gradients_of(reference, *mine))
        result["serial"].append(gradients_of(reference, *whole))
    return result
