"""The task on which schedules are compared: the text and optimizer of the data-parallel strategies, a deeper model."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from lab_utils import corpus
from lab_utils.comm.recorder.recorder import phase
from lab_utils.gpt import GPT, GPTConfig
from lab_utils.schedule import Schedule
from lab_utils.strategies.comparison import NOT_TRAINING
from lab_utils.strategies.comparison_task import BLOCK, LEARNING_RATE, step_flops, text
from lab_utils.strategies.pipeline.pipeline import Pipeline, step
from lab_utils.strategies.recipe import tensor

BATCH = 16
CONFIG = GPTConfig(256, BLOCK, layers=8, channels=32, heads=4, tied=False)


def race(schedule: Schedule, steps: int, judge: bool = True) -> dict:
    """Train this many steps in float64 by a schedule, on as many ranks as it has.

    "losses"     of each step's whole batch, before the update
    "at_s"       end of each of these steps on this rank, in seconds since the first one began
    "held_out"   final loss on held-out text, in nats per byte; None without `judge`
    "step_flops" of a serial step; None without `judge`
    "held"       peak of micro-batches whose activations this rank holds, in full stages
    """
    blocks, held_out = text()
    pipeline = Pipeline(model(), schedule)
    optimizer = torch.optim.AdamW(pipeline.parameters(), LEARNING_RATE)
    began_s = time.perf_counter()
    losses, at_s = [], []
    for i in range(steps):
        losses.append(step(pipeline, optimizer, *batch(blocks, i)).item())
        at_s.append(time.perf_counter() - began_s)
    held = pipeline.peak_activations
    with phase(NOT_TRAINING):
        judged = pipeline.evaluate(tensor(held_out.x), tensor(held_out.y)).item() if judge else None
        flops = step_flops(model(), *batch(blocks, 0)) if judge else None
    return {"losses": losses, "at_s": at_s, "held_out": judged, "step_flops": flops, "held": held}


def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG).double()


def batch(blocks: corpus.Blocks, step: int) -> tuple[Tensor, Tensor]:
    """Return a step's whole batch, x, y [BATCH, BLOCK]."""
    chosen = blocks[corpus.Batches(len(blocks), BATCH)[step]]
    return tensor(chosen.x), tensor(chosen.y)
