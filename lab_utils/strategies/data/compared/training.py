"""The task on which strategies are compared: the same text, model, batches and optimizer for each.

B blocks of the whole batch   T block
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils import corpus
from lab_utils.comm.recorder.recorder import phase
from lab_utils.gpt import GPT, GPTConfig
from lab_utils.strategies import serial
from lab_utils.strategies.comparison import NOT_TRAINING
from lab_utils.strategies.comparison_task import BLOCK, LEARNING_RATE, step_flops, text
from lab_utils.strategies.data.compared.strategies import CONTENDERS
from lab_utils.strategies.data.parameter_server.asynchronous import AsynchronousServer
from lab_utils.strategies.data.parameter_server.synchronous import SynchronousServer
from lab_utils.strategies.recipe import evaluate, tensor

BATCH = 12  # that 1 to 4 ranks, and 3 workers, share evenly
CONFIG = GPTConfig(256, BLOCK, layers=1, channels=48, heads=4, tied=False)


def race(strategy: str, steps: int, judge: bool = True) -> dict:
    """Train this many steps in float64 by a strategy of CONTENDERS, on all ranks.

    "losses"     of each step's part of the batch on this rank, before the update; None on a rank that does not train
    "at_s"       end of each of these steps, in seconds since the first one began
    "held_out"   final loss on held-out text, in nats per byte; None without `judge`
    "step_flops" of a serial step; None without `judge`

    An asynchronous server's losses are in the order of its updates, several per step.
    """
    if steps:
        gc.collect()  # an earlier strategy's model and hooks form cycles: free them before measuring this one
    blocks, held_out = text()
    torch.manual_seed(0)
    model = GPT(CONFIG).double()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    attached = CONTENDERS[strategy](model, optimizer)
    began_s = time.perf_counter()
    done = list(_training(attached, model, optimizer, blocks, steps))
    losses, at_s = zip(*done, strict=True) if done else (None, ())
    with phase(NOT_TRAINING):
        judged = _evaluated(attached, model, held_out) if judge else None
        flops = step_flops(GPT(CONFIG).double(), *_part(blocks, 0, 0, 1)) if judge else None
    return {"losses": losses, "at_s": [each - began_s for each in at_s], "held_out": judged, "step_flops": flops}


def _training(
    attached: object, model: nn.Module, optimizer: torch.optim.Optimizer, blocks: corpus.Blocks, steps: int
) -> Iterator[tuple[float, float]]:
    """Yield (loss, end) of each step of this rank."""
    if isinstance(attached, AsynchronousServer):
        yield from _asynchronous(attached, blocks, steps)
    elif isinstance(attached, SynchronousServer):
        yield from _synchronous(attached, blocks, steps)
    else:
        for i in range(steps):
            loss = serial.step(model, optimizer, *_part(blocks, i, dist.get_rank(), dist.get_world_size()))
            yield loss.item(), time.perf_counter()


def _synchronous(server: SynchronousServer, blocks: corpus.Blocks, steps: int) -> Iterator[tuple[float, float]]:
    for i in range(steps):
        if server.is_server:
            server.optimizer.step()
            continue
        part = _part(blocks, i, server.group.rank() - 1, len(server.worker_ranks))
        yield serial.step(server.model, server.optimizer, *part).item(), time.perf_counter()


def _asynchronous(server: AsynchronousServer, blocks: corpus.Blocks, steps: int) -> Iterator[tuple[float, float]]:
    workers = len(server.worker_ranks)
    if server.is_server:
        for applied in server.serve(steps * workers):
            yield applied.loss, time.perf_counter()
        return
    step = 0
    while server.is_open:
        x, y = _part(blocks, step, server.group.rank() - 1, workers)
        server.optimizer.zero_grad()
        loss = server.model(x, y)[1]
        loss.backward()
        server.note(loss, len(x))
        server.optimizer.step()
        step += 1


def _part(blocks: corpus.Blocks, step: int, rank: int, ranks: int) -> tuple[Tensor, Tensor]:
    """Return this rank's part of a step's batch, x, y [B / ranks, T]."""
    mine = blocks[corpus.Batches(len(blocks), BATCH).part(step, rank, ranks)]
    return tensor(mine.x), tensor(mine.y)


@torch.no_grad()
def _evaluated(attached: object, model: nn.Module, held_out: corpus.Blocks) -> float:
    """Evaluate after a last synchronisation of local steps, or on the gathered model of ZeRO-3."""
    synchronise = getattr(attached, "synchronise", None)
    if synchronise is not None:
        synchronise()
    if hasattr(attached, "state_dict"):  # sharded parameters
        whole = GPT(CONFIG).double()
        whole.load_state_dict(attached.state_dict())
        model = whole
    return evaluate(model, held_out)
