"""What runs on the ranks for gradients: the reader's step, accumulation, uneven shards, and compression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lab_utils.exercises.ch01_data.words import Compress as say
from lab_utils.exercises.framework.on_ranks_training import batch, gradients_of, number_of, sgd, small_gpt
from lab_utils.exercises.framework.readers_function import Function, find
from lab_utils.strategies import serial

PADDING = -100  # what cross_entropy leaves out


def trained(function: Function, steps: int) -> dict[str, Any]:
    """Train the small GPT with the reader's `step` on this rank's shard, and with serial's on the whole batch.

    "step" and "serial" have one snapshot per step; "returned": results of the reader's step, tensors as numbers;
    "shard": the gradients of this shard alone in the first step.
    """
    return {**_trained(find(function), steps), "shard": gradients_of(small_gpt(), *batch(0)[1])}


def _trained(step: Callable, steps: int) -> dict[str, list[Any]]:
    model, reference = small_gpt(), small_gpt()
    optimizer, reference_optimizer = sgd(model.parameters()), sgd(reference.parameters())
    found: dict[str, list[Any]] = {"step": [], "serial": [], "returned": []}
    for number in range(steps):
        whole, mine = batch(number)
        found["returned"].append(number_of(step(model, optimizer, *mine)))
        found["step"].append(serial.snapshot(model, torch.tensor(0.0)))
        found["serial"].append(serial.snapshot(reference, serial.step(reference, reference_optimizer, *whole)))
    return found


def accumulated(function: Function, parts: int) -> dict[str, Any]:
    """As `trained`, with gradients from the reader's `my_accumulate(model, parts)` on equal micro-batches.

    "returned" has one list: the gradients of each micro-batch alone.
    """

    def step(model, optimizer, x, y):
        pairs = list(zip(x.chunk(parts), y.chunk(parts), strict=True))
        alone = [gradients_of(model, *pair) for pair in pairs]
        find(function)(model, pairs)
        return alone

    return _trained(step, 1)


def from_uneven_shards(function: Function, sizes: Sequence[int]) -> dict[str, Any]:
    """As `accumulated`, with the reader's `my_gradients(model, x, y)` and sizes[r] of the batch's blocks on rank r."""

    def step(model, optimizer, x, y):
        uneven = [_joined(shard).split(list(sizes))[dist.get_rank()] for shard in (x, y)]
        alone = [gradients_of(model, *uneven)]
        find(function)(model, *uneven)
        return alone

    return _trained(step, 1)


def _joined(shard: Tensor) -> Tensor:
    """All-gather the ranks' equal shards, joined in rank order."""
    shards = [torch.empty_like(shard) for _ in range(dist.get_world_size())]
    dist.all_gather(shards, shard.contiguous())
    return torch.cat(shards)


def compressed(function: Function, steps: int, part: int) -> dict[str, Any]:
    """Call the reader's `compress(gradient, kept, k)` on this rank's gradients of a small GPT, step after step.

    "strange": (tensor, description) of the first result that is not two tensors of the gradient's shape, else None.
    "steps": per step, name → (gradient, sent, kept, k), with kept after the step.
    """
    model, compress = small_gpt(), find(function)
    kept = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    found: dict[str, Any] = {"strange": None, "steps": []}
    for step in range(steps):
        found["steps"].append({})
        for name, gradient in gradients_of(model, *batch(step)[1]).items():
            k = max(1, gradient.numel() // part)
            returned = compress(gradient.clone(), kept[name].clone(), k)
            if said := _strange(returned, gradient):
                return found | {"strange": (name, said)}
            sent, kept[name] = (each.detach().clone() for each in returned)
            found["steps"][-1][name] = gradient, sent, kept[name], k
    return found


def _strange(returned: object, gradient: Tensor) -> str:
    """Describe a result that is not two tensors of the gradient's shape; "" otherwise."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        return type(returned).__name__
    for each in returned:
        if not isinstance(each, Tensor):
            return say.strange_entry.format(type=type(each).__name__)
        if each.shape != gradient.shape:
            return say.strange_shape.format(shape=list(each.shape))
    return ""


def from_padded_texts(function: Function, sizes: Sequence[int], lengths: Sequence[int]) -> dict[str, list[Any]]:
    """As `from_uneven_shards`, with the reader's `my_token_gradients(model, x, y)`: y is -100 after lengths[r] tokens.

    "serial" has the gradients of the mean over all tokens.
    """
    model, reference = small_gpt(), small_gpt()
    x, y = batch(0)[0]  # [B, T]
    kept = torch.tensor(lengths).repeat_interleave(torch.tensor(sizes))  # [B]
    y = y.masked_fill(torch.arange(y.shape[1]) >= kept[:, None], PADDING)
    mine = [whole.split(list(sizes))[dist.get_rank()] for whole in (x, y)]
    alone = [gradients_of(model, *mine)]
    find(function)(model, *mine)
    reference(x, y)[1].backward()
    snapshots = serial.snapshot(model, torch.tensor(0.0)), serial.snapshot(reference, torch.tensor(0.0))
    return {"step": [snapshots[0]], "serial": [snapshots[1]], "returned": [alone]}
