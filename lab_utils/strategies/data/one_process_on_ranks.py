"""DataParallel's step with a rank in place of each device, so that what its process copies can be recorded.

The messages are the copies of one_process_threads.py: the first device holds the only parameters that last, sends
them to the others in every step, and receives all outputs and all gradients. (With NCCL, torch.nn.DataParallel
broadcasts and reduces instead of copying to each device in turn.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lab_utils.comm.recorder.recorder import phase

FIRST = 0


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor | None:
    """Run a step on the first rank's batch x, y [B, ...]; return its logits [B, ...] there, None on the others.

    The others need x and y for their shapes only. `model(x, y)` returns (logits, mean loss). B is a multiple of the
    number of ranks.
    """
    n = dist.get_world_size()
    with phase("scatter"):
        x, y = send_each(x.chunk(n)), send_each(y.chunk(n))
    with phase("replicate"):
        vector_to_parameters(send_each([parameters_to_vector(model.parameters()).detach()] * n), model.parameters())
    with phase("apply"):
        logits, loss = model(x, y)
    with phase("gather"):
        outputs = receive_each(logits.detach())
    with phase("backward"):
        model.zero_grad()
        (loss / n).backward()
    with phase("reduce"):
        gradients = receive_each(parameters_to_vector(p.grad for p in model.parameters()))
    if not outputs:
        return None
    with phase("update"):
        _set_gradients(model, sum(gradients))
        optimizer.step()
    return torch.cat(outputs)


def send_each(parts: Sequence[Tensor]) -> Tensor:
    """Send each other rank its part from the first one; return this rank's part."""
    rank = dist.get_rank()
    if rank == FIRST:
        for other in range(1, len(parts)):
            dist.send(parts[other].contiguous(), other)
        return parts[FIRST]
    received = torch.empty_like(parts[rank], memory_format=torch.contiguous_format)
    dist.recv(received, FIRST)
    return received


def receive_each(mine: Tensor) -> list[Tensor]:
    """Return every rank's tensor on the first one, [] on the others."""
    if dist.get_rank() != FIRST:
        dist.send(mine, FIRST)
        return []
    received = [mine, *(torch.empty_like(mine) for _ in range(1, dist.get_world_size()))]
    for other in range(1, len(received)):
        dist.recv(received[other], other)
    return received


def _set_gradients(model: nn.Module, vector: Tensor) -> None:
    parameters = list(model.parameters())
    for parameter, gradient in zip(parameters, vector.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = gradient.view_as(parameter)
