"""What runs on the ranks for the parameter server: the reader's steps, and serial's. Loaded there only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist

from lab_utils.exercises.framework.on_ranks_training import batch, gradients_of, parameters_of, sgd, small_gpt
from lab_utils.exercises.framework.readers_function import Function, find
from lab_utils.strategies import serial

MOMENTUM = 0.9  # its state must live as long as the optimizer


def served(function: Function, steps: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Train with the reader's `my_server`, and with serial's step on the whole batch; worker w has sizes[w - 1] blocks.

    "before": the initial parameters; "after" and "serial": those after each step; "alone": the gradients of a worker's
    first shard, None on rank 0.
    """
    model, reference, rank = small_gpt(), small_gpt(), dist.get_rank()
    optimizer, reference_optimizer = (sgd(each.parameters(), MOMENTUM) for each in (model, reference))
    found: dict[str, Any] = {"before": parameters_of(model), "after": [], "serial": []}
    for number in range(steps):
        whole, _ = batch(number)
        mine = (each.split(list(sizes))[rank - 1] for each in whole) if rank else (None, None)
        x, y = mine
        if not number:
            found["alone"] = gradients_of(model, x, y) if rank else None
        find(function)(model, optimizer, x, y)
        found["after"].append(parameters_of(model))
        serial.step(reference, reference_optimizer, *whole)
        found["serial"].append(parameters_of(reference))
    return found
