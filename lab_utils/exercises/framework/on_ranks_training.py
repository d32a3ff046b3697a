"""What the checks train on the ranks: a small GPT, plain SGD, and batches of a small text. Loaded there only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.corpus import Batches, Blocks, cut
from lab_utils.corpus.hashing import stable_hash
from lab_utils.exercises.framework.on_ranks import BATCH, BLOCK, BLOCKS, CHANNELS, LEARNING_RATE, VOCABULARY
from lab_utils.gpt import GPT, GPTConfig
from lab_utils.strategies import data, serial

Pair = tuple[Tensor, Tensor]  # x, y [b, T]
Named = dict[str, Tensor]


def small_gpt(seed: int = 0, layers: int = 1, tied: bool = True) -> GPT:
    with torch.random.fork_rng(devices=[]):  # leave the reader's random state unchanged
        torch.manual_seed(seed)
        sizes = {"vocabulary": VOCABULARY, "block": BLOCK, "channels": CHANNELS, "heads": 3}
        return GPT(GPTConfig(**sizes, layers=layers, tied=tied)).double()


def sgd(parameters: Iterable[nn.Parameter], momentum: float = 0.0) -> torch.optim.SGD:
    """Return plain SGD: unlike Adam's, its update shows a wrong factor on the gradient."""
    return torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=momentum)


def small_text() -> Blocks:
    """Return blocks of pseudo-random tokens, no two alike."""
    return cut((stable_hash(BLOCKS * BLOCK + 1) % VOCABULARY).astype("int64"), BLOCK)


def batch(step: int) -> tuple[Pair, Pair]:
    """Return ((x, y) of a step's whole batch, (x, y) of this rank's part of it)."""
    blocks, batches = small_text(), Batches(BLOCKS, BATCH)
    part = batches.part(step, dist.get_rank(), dist.get_world_size())
    return tensors(blocks[batches[step]]), tensors(blocks[part])


def tensors(blocks: Blocks) -> Pair:
    return torch.from_numpy(blocks.x.copy()), torch.from_numpy(blocks.y.copy())


def parameters_of(model: nn.Module) -> Named:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def gradients_of(model: nn.Module, x: Tensor, y: Tensor) -> Named:
    """Return the gradients of the mean loss, without changing the model."""
    named = dict(model.named_parameters())
    return dict(zip(named, torch.autograd.grad(model(x, y)[1], [*named.values()]), strict=True))


def one_step(model: nn.Module, reference: nn.Module, whole: Pair, mine: Pair) -> dict[str, dict]:
    """Run a data-parallel step of the model, and serial's of the reference on the whole batch: a snapshot of each."""
    expected = serial.snapshot(reference, serial.step(reference, sgd(reference.parameters()), *whole))
    return {"step": serial.snapshot(model, data.step(model, sgd(model.parameters()), *mine)), "serial": expected}


def number_of(returned: object) -> object:
    """Return a tensor of one element as a number, anything else as it is."""
    return returned.item() if isinstance(returned, Tensor) and returned.numel() == 1 else returned
