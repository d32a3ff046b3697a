"""Programs of plain torch.distributed, each run once on the lab's group and once on gloo: same code, same numbers.

A program gets the group to run on; everything it makes on the way (sub-groups, meshes) it makes from the backend
of that name. It returns tensors and numbers only.
"""

from __future__ import annotations

import copy
import warnings

import torch
import torch.distributed as dist
from torch import nn

ROWS, WIDTH, HIDDEN, STEPS = 4, 16, 32, 3


def seeded(offset: int = 0) -> int:
    """The same weights on every rank, other data on each: returns the rank."""
    torch.manual_seed(7 + offset)
    return dist.get_rank()


def mlp() -> nn.Sequential:
    sizes = [WIDTH, HIDDEN, HIDDEN, 4]
    first, second, third = (nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)


def batch(step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * step + dist.get_rank())
    return torch.randn(ROWS, WIDTH, generator=generator)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> list[float]:
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(batch(step)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def values(model: nn.Module) -> list[torch.Tensor]:
    """This rank's part of each parameter and of its gradient."""
    local = [p.to_local() if hasattr(p, "to_local") else p for p in model.parameters()]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return [t.detach().clone() for t in local + [g.to_local() if hasattr(g, "to_local") else g for g in grads]]


# ---------------------------------------------------------------- data parallel
def ddp(**settings) -> tuple:
    seeded()
    model = nn.parallel.DistributedDataParallel(mlp(), **settings)
    losses = train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    return losses, values(model)


def ddp_bucketed() -> tuple:
    return ddp(bucket_cap_mb=0.001)


def ddp_static_graph() -> tuple:
    return ddp(static_graph=True)


def ddp_bucket_views() -> tuple:
    return ddp(gradient_as_bucket_view=True)


def ddp_fp16_hook() -> tuple:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

    seeded()
    model = nn.parallel.DistributedDataParallel(mlp(), bucket_cap_mb=0.001)
    model.register_comm_hook(None, fp16_compress_hook)
    return train(model, torch.optim.SGD(model.parameters(), lr=0.1)), values(model)


def ddp_power_sgd() -> tuple:
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook

    seeded()
    model = nn.parallel.DistributedDataParallel(mlp())
    state = powerSGD_hook.PowerSGDState(None, matrix_approximation_rank=2, start_powerSGD_iter=2)
    model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    return train(model, torch.optim.SGD(model.parameters(), lr=0.1), steps=4), values(model)


def ddp_no_sync() -> tuple:
    seeded()
    model = nn.parallel.DistributedDataParallel(mlp())
    with model.no_sync():
        model(batch(0)).sum().backward()
    model(batch(1)).sum().backward()
    return values(model)


def ddp_uneven_inputs() -> tuple:
    """Divided by the ranks that still train: DDP keeps a work in C++ alone until then."""
    rank = seeded()
    model = nn.parallel.DistributedDataParallel(mlp())
    with model.join(divide_by_initial_world_size=False):
        for step in range(2 + rank):
            model.zero_grad()
            model(batch(step)).sum().backward()
    return values(model)


def zero_redundancy() -> tuple:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    seeded()
    model = nn.parallel.DistributedDataParallel(mlp())
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.01)
    return train(model, optimizer), values(model)


# ---------------------------------------------------------------- sharded data parallel
def world_mesh():
    return dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("dp",))


def fsdp2(**settings) -> tuple:
    from torch.distributed.fsdp import fully_shard

    seeded()
    model, mesh = mlp(), world_mesh()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh, **settings)
    fully_shard(model, mesh=mesh, **settings)
    return train(model, torch.optim.AdamW(model.parameters(), lr=0.01)), values(model)


def fsdp2_bf16() -> tuple:
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return fsdp2(mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32))


def fsdp2_hybrid() -> tuple:
    """Sharded over one axis of a mesh, replicated over the other."""
    from torch.distributed.fsdp import fully_shard

    seeded()
    mesh = dist.device_mesh.init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("dp", "shard"))
    model = fully_shard(mlp(), mesh=mesh)
    return train(model, torch.optim.SGD(model.parameters(), lr=0.1)), values(model)


def fsdp1() -> tuple:
    from torch.distributed.fsdp import FullyShardedDataParallel

    seeded()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FSDP will", UserWarning)
        warnings.filterwarnings("ignore", ".*FullyShardedDataParallel|FSDP1", FutureWarning)
        model = FullyShardedDataParallel(mlp(), device_id=torch.device("cpu"), use_orig_params=True)
        return train(model, torch.optim.SGD(model.parameters(), lr=0.1)), values(model)


# ---------------------------------------------------------------- tensor parallel and meshes
def tensor_parallel() -> tuple:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    seeded()
    model = mlp()
    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("tp",))
    model = parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model(torch.randn(ROWS, WIDTH)).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item(), values(model)


def dtensor_redistribute() -> list[torch.Tensor]:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = world_mesh()
    seeded()
    sharded = distribute_tensor(torch.randn(8, 8), mesh, [Shard(0)])
    turned = sharded.redistribute(mesh, [Shard(1)])
    return [sharded.to_local(), turned.to_local(), turned.redistribute(mesh, [Replicate()]).to_local()]


def two_axes() -> list[torch.Tensor]:
    mesh = dist.device_mesh.init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("dp", "tp"))
    x, y = torch.full((3,), float(dist.get_rank())), torch.full((5,), 10.0 * dist.get_rank())
    dist.all_reduce(x, group=mesh.get_group("dp"))
    dist.all_reduce(y, group=mesh.get_group("tp"))
    return [x, y]


# ---------------------------------------------------------------- pipelines
def pipeline(schedule: str) -> tuple:
    from torch.distributed import pipelining

    rank, size = seeded(), dist.get_world_size()
    per_rank = 2 if schedule == "ScheduleInterleaved1F1B" else 1
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(size * per_rank)]
    x, target = torch.randn(8, WIDTH), torch.randn(8, WIDTH)
    mine = [copy.deepcopy(layers[rank + size * chunk]) for chunk in range(per_rank)]
    stages = [
        pipelining.PipelineStage(layer, rank + size * chunk, size * per_rank, torch.device("cpu"))
        for chunk, layer in enumerate(mine)
    ]
    last, losses = rank == size - 1, []
    kind = getattr(pipelining, schedule)
    runner = kind(stages if per_rank > 1 else stages[0], 4, loss_fn=lambda out, aim: (out - aim).square().mean())
    given = (x,) if rank == 0 else ()
    output = runner.step(*given, target=target if last else None, losses=losses if last else None)
    grads = [p.grad for layer in mine for p in layer.parameters()]
    return grads, output if last else None, [loss.detach() for loss in losses]


def gpipe() -> tuple:
    return pipeline("ScheduleGPipe")


def one_f_one_b() -> tuple:
    return pipeline("Schedule1F1B")


def interleaved() -> tuple:
    return pipeline("ScheduleInterleaved1F1B")
