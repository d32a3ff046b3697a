"""The strategies to compare, by name: each attaches to a plain model and a plain optimizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from lab_utils.strategies.data import all_reduce
from lab_utils.strategies.data.buckets.overlapped import Buckets
from lab_utils.strategies.data.compression.half_precision import HalfPrecision
from lab_utils.strategies.data.compression.power_sgd import PowerSGD
from lab_utils.strategies.data.compression.top_k import TopK
from lab_utils.strategies.data.hierarchical_all_reduce import MultiHop
from lab_utils.strategies.data.local_training import DiLoCo, LocalSGD
from lab_utils.strategies.data.parameter_server.asynchronous import AsynchronousServer
from lab_utils.strategies.data.parameter_server.synchronous import SynchronousServer
from lab_utils.strategies.data.zero.zero1_and_zero2 import ShardedGradients, ShardedOptimizer
from lab_utils.strategies.data.zero.zero3 import ShardedParameters

Attach = Callable[[nn.Module, torch.optim.Optimizer], object]
Group = torch.distributed.ProcessGroup | None

EVERY = 8  # local steps
BUCKET_MB = 0.1  # several buckets for a small model
SMALL = {"bucket_mb": BUCKET_MB, "first_mb": BUCKET_MB / 4}


class Flat:
    """Averages the gradients before each optimizer step, in one message."""

    aggregate = staticmethod(all_reduce.aggregate)

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, group: Group = None) -> None:
        all_reduce.replicate(model, group)
        optimizer.register_step_pre_hook(lambda *_: self.aggregate(model, group))


class OneByOne(Flat):
    """Averages the gradients before each optimizer step, with one message per parameter."""

    aggregate = staticmethod(all_reduce.aggregate_one_by_one)


def asynchronous(model: nn.Module, optimizer: torch.optim.Optimizer) -> AsynchronousServer:
    """Attach an asynchronous server whose workers take equally long on a simulated clock, reproducibly."""
    workers = range(1, torch.distributed.get_world_size())
    return AsynchronousServer(model, optimizer, pace_s=dict.fromkeys(workers, 1.0))


CONTENDERS: dict[str, Attach] = {
    "one by one": OneByOne,
    "flat": Flat,
    "buckets": lambda model, optimizer: Buckets(model, **SMALL),
    "ZeRO-1": lambda model, optimizer: ShardedOptimizer(model, optimizer, bucket_mb=BUCKET_MB),
    "ZeRO-2": lambda model, optimizer: ShardedGradients(model, optimizer, bucket_mb=BUCKET_MB),
    "ZeRO-3": lambda model, optimizer: ShardedParameters(model, optimizer, model.blocks),
    "server": SynchronousServer,
    "server, asynchronous": asynchronous,
    f"local SGD, every {EVERY}": lambda model, optimizer: LocalSGD(model, optimizer, every=EVERY),
    f"DiLoCo, every {EVERY}": lambda model, optimizer: DiLoCo(model, optimizer, every=EVERY),
    "bfloat16 on the wire": lambda model, optimizer: Buckets(model, reduce=HalfPrecision(), **SMALL),
    "top 10 %": lambda model, optimizer: Buckets(model, reduce=TopK(0.1), **SMALL),
    "PowerSGD, rank 4": lambda model, optimizer: Buckets(model, reduce=PowerSGD(4), **SMALL),
    "two-level": lambda model, optimizer: Buckets(model, reduce=MultiHop("two_level", 2), **SMALL),
}
