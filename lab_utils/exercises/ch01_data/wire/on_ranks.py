"""What runs on the ranks for 01.20: the reader's local SGD, and its serial simulation. Loaded there only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.corpus import Batches
from lab_utils.exercises.framework.on_ranks import BATCH, BLOCKS
from lab_utils.exercises.framework.on_ranks_training import (
    Named,
    Pair,
    gradients_of,
    parameters_of,
    sgd,
    small_gpt,
    small_text,
    tensors,
)
from lab_utils.exercises.framework.readers_function import Function, find

MOMENTUM = 0.9
Worker = tuple[nn.Module, torch.optim.SGD]


def trained(function: Function, steps: int, every: int) -> Named:
    """Return this rank's parameters after the reader's local SGD."""
    model, optimizer = _worker()
    find(function)(model, optimizer, _batches(steps, dist.get_rank(), dist.get_world_size()), every)
    return parameters_of(model)


def simulated(algorithm: str, steps: int, every: int) -> list[Named]:
    """Return each rank's parameters by local SGD, or a wrong version of it, with all ranks in this process."""
    if dist.get_rank():
        return []  # one simulation is enough
    n = dist.get_world_size()
    workers = [_worker() for _ in range(n)]
    batches = [_batches(steps, rank, n) for rank in range(n)]
    for step in range(0 if algorithm == "untrained" else steps):
        due = _is_due(algorithm, step + 1, steps, every)
        _step(workers, [each[step] for each in batches], average=due and algorithm == "gradients")
        if due and algorithm != "gradients":
            _round(workers, algorithm)
    return [parameters_of(model) for model, _ in workers]


def _is_due(algorithm: str, step: int, steps: int, every: int) -> bool:
    """Whether a round follows this step, from 1."""
    match algorithm:
        case "alone":
            return False
        case "each_step":
            return True
        case "unfinished":
            return step % every == 0
        case "first_round":
            return (step - 1) % every == 0 or step == steps
    return step % every == 0 or step == steps


def _step(workers: Sequence[Worker], pairs: Sequence[Pair], average: bool) -> None:
    gradients = [[*gradients_of(model, *pair).values()] for (model, _), pair in zip(workers, pairs, strict=True)]
    if average:
        gradients = [[_mean(each) for each in zip(*gradients, strict=True)]] * len(workers)
    for (model, optimizer), own in zip(workers, gradients, strict=True):
        for parameter, gradient in zip(model.parameters(), own, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


@torch.no_grad()
def _round(workers: Sequence[Worker], algorithm: str) -> None:
    factor = {"divided_twice": 1 / len(workers), "summed": len(workers)}.get(algorithm, 1.0)
    for same in zip(*(model.parameters() for model, _ in workers), strict=True):
        mean = _mean(same) * factor
        for parameter in same:
            parameter.copy_(mean)
    if algorithm == "reset":
        for _, optimizer in workers:
            optimizer.state.clear()
    if algorithm == "averaged_state":
        for same in zip(*map(_momenta, workers), strict=True):
            mean = _mean(same)
            for momentum in same:
                momentum.copy_(mean)


def _momenta(worker: Worker) -> Iterator[Tensor]:
    model, optimizer = worker
    return (optimizer.state[parameter]["momentum_buffer"] for parameter in model.parameters())


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.detach() for tensor in tensors]).mean(dim=0)


def _worker() -> Worker:
    model = small_gpt()
    return model, sgd(model.parameters(), momentum=MOMENTUM)


def _batches(steps: int, rank: int, ranks: int) -> list[Pair]:
    blocks, batches = small_text(), Batches(BLOCKS, BATCH)
    return [tensors(blocks[batches.part(step, rank, ranks)]) for step in range(steps)]
