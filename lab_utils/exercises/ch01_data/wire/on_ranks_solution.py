"""A right answer to 01.20, which its explanation quotes."""

from __future__ import annotations

import torch.distributed as dist


def my_local_sgd(model, optimizer, batches, every):
    for step, (x, y) in enumerate(batches, 1):
        optimizer.zero_grad()
        model(x, y)[1].backward()
        optimizer.step()
        if step % every == 0 or step == len(batches):
            for parameter in model.parameters():
                dist.all_reduce(parameter.detach(), dist.ReduceOp.AVG)
