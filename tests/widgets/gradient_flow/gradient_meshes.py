"""What the tests of gradients run on ranks that hold unlike pieces: tensor-parallel, on a mesh, in a pipeline."""

from __future__ import annotations

import torch
import torch.distributed as dist
from gradient_programs import BATCH, WIDTH, batch, mine, model
from torch import nn

from lab_utils.widgets.gradient_flow.probe import gradient_flow
from lab_utils.widgets.gradient_flow.record import FlowRecord


def _sharded(split: nn.Module, mesh) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    for part in split:
        if isinstance(part, nn.Linear):
            fully_shard(part, mesh=mesh)
    return fully_shard(split, mesh=mesh)


def _second_step(split: nn.Module, x: torch.Tensor) -> FlowRecord:
    """The first one makes what FSDP2 computes with, and DTensor's plans."""
    for _ in range(2):
        split.zero_grad()
        loss = split(x).square().mean()
        with gradient_flow(split) as flow:
            loss.backward()
    return flow.record()


def tensor_parallel() -> FlowRecord:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("tp",))
    return _second_step(
        parallelize_module(model(), mesh, {"2": ColwiseParallel(), "4": RowwiseParallel()}), batch(0, 1)
    )


def sharded_and_tensor_parallel() -> FlowRecord:
    """FSDP2 over dp of the pieces that tp has made; ranks 0 and 1 have the same part of the batch."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    split = parallelize_module(model(), mesh["tp"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    return _second_step(_sharded(split, mesh["dp"]), batch(mesh["dp"].get_local_rank(), 2))


def hybrid_sharded() -> FlowRecord:
    """Two replicas, each in two shards: a reduce-scatter within, then an all-reduce between them."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    return _second_step(_sharded(model(), mesh), mine())


def stages() -> FlowRecord:
    """Two stages: activations go forward before the block, their gradients come back inside it."""
    rank, whole = dist.get_rank(), model()
    stage = whole[:4] if rank == 0 else whole[4:]
    if rank == 0:
        x = stage(batch(0, 1))
        dist.send(x.detach(), 1)
    else:
        x = torch.empty(BATCH, WIDTH, dtype=torch.float64, requires_grad=True)
        dist.recv(x.detach(), 0)
    with gradient_flow(stage, prefix=f"stage {rank}.") as flow:
        if rank == 0:
            gradient = torch.empty_like(x)
            dist.recv(gradient, 1)
            x.backward(gradient)
        else:
            stage(x).square().mean().backward()
            dist.send(x.grad, 0)
    return flow.record()


def one_f_one_b(microbatches: int) -> FlowRecord:
    """PyTorch's own pipelining, forward and backward; it divides the gradients by the micro-batches at the end."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    rank, whole = dist.get_rank(), model()
    part = whole[:4] if rank == 0 else whole[4:]
    stage = PipelineStage(part, rank, 2, torch.device("cpu"))
    schedule = Schedule1F1B(stage, microbatches, loss_fn=lambda output, target: (output - target).square().mean())
    with gradient_flow(part, prefix=f"stage {rank}.") as flow:
        if rank == 0:
            schedule.step(batch(0, 1))
        else:
            schedule.step(target=torch.zeros(BATCH, 1, dtype=torch.float64))
    return flow.record()
