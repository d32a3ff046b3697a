"""The part of the pipeline exercises' checks that runs on the ranks: one stage per rank, and the reader's functions.

Also imported by the notebook's kernel (to be sent by name), so torch is imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab_utils.exercises.framework.on_ranks import BLOCK, VOCABULARY, _small_text, _tensors, find

MICROBATCHES, SAMPLES = 6, 3  # micro-batches per step, blocks per micro-batch
CHANNELS = 12


def stepped(function: Callable | str) -> dict[str, Any]:
    """Run one step of the reader's `my_step(stage, parts, like)` on this rank's stage of a small GPT.

    "found": the stage's gradients; "serial": those of serial training; "alone": serial's of each micro-batch alone.
    """
    import torch

    model, (stage, _) = _gpt(), _stage()
    parts = _parts()
    find(function)(stage, parts, torch.empty(SAMPLES, BLOCK, CHANNELS, dtype=torch.float64))
    names = dict(stage.named_parameters())
    alone = [_gradients(model, *part, names) for part in parts]
    return {"found": _found(stage), "serial": _mean(alone), "alone": alone}


def slotted(function: Callable | str) -> dict[str, Any]:
    """Run the reader's `my_run(order, forward, backward)` on this rank's stage, with 1F1B's order.

    "found" and "serial" as for `stepped`; "used": [(micro-batch of a backward, micro-batch of its activations)];
    "ran" and "order": the ops; "held": peak of micro-batches whose activations the reader kept between two ops.
    """
    import torch.distributed as dist

    from lab_utils.exercises.ch03_pipeline.on_ranks_stage import Running
    from lab_utils.schedule import schedules

    model, (stage, _) = _gpt(), _stage()
    parts = _parts()
    words = schedules.one_f_one_b(dist.get_world_size(), MICROBATCHES).orders[dist.get_rank()].split()
    order = [(word[0], int(word.lstrip("FBW"))) for word in words]
    running = Running(stage, parts, (SAMPLES, BLOCK, CHANNELS))
    find(function)(list(order), running.forward, running.backward)
    running.finish()
    serial = _mean([_gradients(model, *part, dict(stage.named_parameters())) for part in parts])
    made = {"used": running.used, "ran": running.ran, "order": order, "held": running.most}
    return {"found": _found(stage), "serial": serial, **made}


def weighted(function: Callable | str) -> dict[str, Any]:
    """Run the reader's `my_backward(layer, inputs, arrive, leave)` on this rank's layer of a chain of linear layers.

    "weight": gradient of its weight; "left": {micro-batch: gradient of the input}, as passed to `leave`.
    "inputs", "outputs_grad" and "inputs_grad" [micro-batch]: the values of serial training.
    """
    from lab_utils.exercises.ch03_pipeline.on_ranks_stage import Chain

    chain = Chain(MICROBATCHES, SAMPLES, CHANNELS)
    layer = chain.layer()
    find(function)(layer, [x.clone() for x in chain.inputs], chain.arrive, chain.leave)
    chain.finish()
    serial = {"inputs": chain.inputs, "outputs_grad": chain.outputs_grad, "inputs_grad": chain.inputs_grad}
    return {"weight": layer.weight.grad, "left": chain.left, **serial}


def tied(function: Callable | str) -> dict[str, Any]:
    """Run the reader's `my_tied(stage)` on the gradients that a pipeline's backward leaves with a tied embedding.

    "own": the stage's gradients before; "found": after; "parts": the tied weight's gradient in the first stage and in
    the last, in this order.
    """
    model, (stage, ends) = _gpt(), _stage()
    names = dict(model.named_parameters())
    gradients = _mean([_gradients(model, *part, names) for part in _parts()])
    for name, parameter in stage.named_parameters():
        parameter.grad = gradients[name].clone()
    own = _found(stage)
    find(function)(stage)
    return {"own": own, "found": _found(stage), "parts": [gradients[name] for name in ends]}


def _gpt():
    """A GPT with one block per rank. The head is an untied copy of the embedding, so that each has its own part of
    the gradient, as on a pipeline's first and last rank."""
    import torch
    import torch.distributed as dist

    from lab_utils.gpt import GPT, GPTConfig

    sizes = {"vocabulary": VOCABULARY, "block": BLOCK, "layers": dist.get_world_size()}
    with torch.random.fork_rng(devices=[]):  # leave the reader's random state unchanged
        torch.manual_seed(0)
        model = GPT(GPTConfig(**sizes, channels=CHANNELS, heads=3, tied=False)).double()
    model.head.weight.data.copy_(model.tokens.weight.data)
    return model


def _stage():
    """This rank's stage, and the two names of the weight that a tied model shares."""
    import torch.distributed as dist

    from lab_utils.strategies.pipeline import cut

    return cut(_gpt(), dist.get_world_size())[dist.get_rank()], ("tokens.weight", "head.weight")


def _parts() -> list[tuple[Any, Any]]:
    import numpy as np

    x, y = _tensors(_small_text()[np.arange(MICROBATCHES * SAMPLES)])
    return list(zip(x.split(SAMPLES), y.split(SAMPLES), strict=True))


def _found(stage) -> dict[str, Any]:
    return {name: p.grad.detach().clone() for name, p in stage.named_parameters() if p.grad is not None}


def _gradients(model, x, y, names) -> dict[str, Any]:
    """Gradients of the mean loss of x, y [b, T] for the named parameters."""
    import torch

    named = dict(model.named_parameters())
    return dict(zip(names, torch.autograd.grad(model(x, y)[1], [named[name] for name in names]), strict=True))


def _mean(several) -> dict[str, Any]:
    return {name: sum(each[name] for each in several) / len(several) for name in several[0]}
