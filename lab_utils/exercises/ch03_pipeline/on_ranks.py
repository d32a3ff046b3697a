"""What runs on the ranks for chapter 03: one stage per rank, and the reader's functions. Loaded there only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from lab_utils.exercises.ch03_pipeline.on_ranks_stage import Chain, Passes, Running
from lab_utils.exercises.framework.on_ranks import BLOCK, CHANNELS, MICROBATCHES, SAMPLES
from lab_utils.exercises.framework.on_ranks_training import Named, Pair, gradients_of, small_gpt, small_text, tensors
from lab_utils.exercises.framework.readers_function import Function, find
from lab_utils.gpt import GPT
from lab_utils.schedule import schedules
from lab_utils.strategies.pipeline import cut

LIKE = (SAMPLES, BLOCK, CHANNELS)  # shape of the activations between two stages
TIED = ("tokens.weight", "head.weight")  # the names of the weight that a tied model shares


def stepped(function: Function) -> dict[str, Any]:
    """Run one step of the reader's `my_step(stage, parts, like)` on this rank's stage of a small GPT.

    "found": the stage's gradients; "serial": those of serial training; "alone": serial's of each micro-batch alone.
    """
    model, stage, parts = _case()
    find(function)(stage, parts, torch.empty(LIKE, dtype=torch.float64))
    names = [name for name, _ in stage.named_parameters()]
    alone = [{name: gradients[name] for name in names} for gradients in _of_each(model, parts)]
    return {"found": _found(stage), "serial": _mean(alone), "alone": alone}


def slotted(function: Function) -> dict[str, Any]:
    """Run the reader's `my_run(order, forward, backward)` on this rank's stage, with 1F1B's order.

    "found" and "serial" as for `stepped`; "used": [(micro-batch of a backward, micro-batch of its activations)];
    "ran" and "order": the ops; "held": peak of micro-batches whose activations the reader kept between two ops.
    """
    model, stage, parts = _case()
    ops = schedules.one_f_one_b(dist.get_world_size(), MICROBATCHES).orders[dist.get_rank()].split()
    order = [(op[0], int(op.lstrip("FBW"))) for op in ops]
    running = Running(stage, parts, LIKE)
    find(function)(list(order), running.forward, running.backward)
    running.finish()
    serial = _mean(_of_each(model, parts))
    made = {"used": running.used, "ran": running.ran, "order": order, "held": running.most}
    return {"found": _found(stage), "serial": {name: serial[name] for name, _ in stage.named_parameters()}, **made}


def weighted(function: Function) -> dict[str, Any]:
    """Run the reader's `my_backward(layer, inputs, arrive, leave)` on this rank's layer of a chain of linear layers.

    "weight": gradient of its weight; "left": {micro-batch: gradient of the input}, as passed to `leave`.
    "inputs", "outputs_grad" and "inputs_grad" [micro-batch]: the values of serial training.
    """
    chain = Chain(MICROBATCHES, SAMPLES, CHANNELS)
    layer = chain.layer()
    find(function)(layer, [x.clone() for x in chain.inputs], chain.arrive, chain.leave)
    chain.finish()
    serial = {"inputs": chain.inputs, "outputs_grad": chain.outputs_grad, "inputs_grad": chain.inputs_grad}
    return {"weight": layer.weight.grad, "left": chain.left, **serial}


def tied(function: Function) -> dict[str, Any]:
    """Run the reader's `my_tied(stage)` on the gradients that a pipeline's backward leaves with a tied embedding.

    "own": the stage's gradients before; "found": after; "parts": the tied weight's gradient in the first stage and in
    the last, in this order.
    """
    model, stage, parts = _case()
    gradients = _mean(_of_each(model, parts))
    for name, parameter in stage.named_parameters():
        parameter.grad = gradients[name].clone()
    own = _found(stage)
    find(function)(stage)
    return {"own": own, "found": _found(stage), "parts": [gradients[name] for name in TIED]}


def looped(function: Function, microbatches: int) -> dict[str, Any]:
    """Run the reader's `my_1f1b(m, forward, backward, like)` on this rank's stage of a small GPT.

    "found" and "serial" as for `stepped`; "held": peak of micro-batches between their forward and their backward.
    """
    model, stage, parts = _case(microbatches)
    passes = Passes(stage, parts, LIKE)
    find(function)(microbatches, passes.forward, passes.backward, torch.empty(LIKE, dtype=torch.float64))
    serial = _mean(_of_each(model, parts))
    own = {name: serial[name] for name, _ in stage.named_parameters()}
    return {"found": _found(stage), "serial": own, "held": passes.most}


def _case(microbatches: int = MICROBATCHES) -> tuple[GPT, nn.Module, list[Pair]]:
    """Return a GPT with a block per rank, this rank's stage of another, equal one, and the micro-batches.

    The head is an untied copy of the embedding, so that each has its own part of the gradient, as on a pipeline's
    first and last rank.
    """
    models = [small_gpt(layers=dist.get_world_size(), tied=False) for _ in range(2)]
    for model in models:
        model.head.weight.data.copy_(model.tokens.weight.data)
    x, y = tensors(small_text()[np.arange(microbatches * SAMPLES)])
    parts = list(zip(x.split(SAMPLES), y.split(SAMPLES), strict=True))
    return models[0], cut(models[1], dist.get_world_size())[dist.get_rank()], parts


def _of_each(model: GPT, parts: list[Pair]) -> list[Named]:
    return [gradients_of(model, *part) for part in parts]


def _found(stage: nn.Module) -> Named:
    return {name: p.grad.detach().clone() for name, p in stage.named_parameters() if p.grad is not None}


def _mean(several: list[Named]) -> Named:
    return {name: sum(each[name] for each in several) / len(several) for name in several[0]}
