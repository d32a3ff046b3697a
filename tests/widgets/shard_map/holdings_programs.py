"""What the tests of holdings run on the ranks: one step of a small model, under each way of sharding it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from lab_utils.widgets.shard_map.probe import holdings, saved_for_backward
from lab_utils.widgets.shard_map.record import RankHoldings

IN, HIDDEN, OUT, BATCH = 16, 10, 5, 6  # 10 and 5 rows are no multiple of 4


def model() -> nn.Sequential:
    """Equal on every rank: 225 numbers in 4 parameters, 900 bytes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(IN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, OUT))


def batch(rank: int | None = None) -> torch.Tensor:
    """float32[BATCH, IN], another one on each rank."""
    seed = dist.get_rank() if rank is None else rank
    return torch.randn(BATCH, IN, generator=torch.Generator().manual_seed(seed))


def step(trained: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor | None = None) -> RankHoldings:
    with saved_for_backward(trained) as saved:
        loss = trained(batch() if x is None else x).square().mean()
    loss.backward()
    optimizer.step()
    return holdings(trained, optimizer, activations=saved)


def ddp(view: bool = False) -> RankHoldings:
    wrapped = DistributedDataParallel(model(), gradient_as_bucket_view=view)
    return step(wrapped, torch.optim.AdamW(wrapped.parameters()))


def zero_1() -> RankHoldings:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    wrapped = DistributedDataParallel(model(), gradient_as_bucket_view=True)
    return step(wrapped, ZeroRedundancyOptimizer(wrapped.parameters(), torch.optim.AdamW))


def forgotten() -> RankHoldings:
    """Data parallelism that reduces all gradients but one."""
    plain = model()
    plain(batch()).square().mean().backward()
    for name, parameter in plain.named_parameters():
        if name != "2.bias":
            dist.all_reduce(parameter.grad, dist.ReduceOp.AVG)
    return holdings(plain)


def fsdp() -> tuple[RankHoldings, RankHoldings, bool]:
    """After a step, after a forward alone (the root's parameters stay gathered); and are the pieces where they say?"""
    sharded = fully_shard(model())
    after = step(sharded, torch.optim.AdamW(sharded.parameters()))
    started = holdings(fully_shard(sharded_anew := model()))
    sharded_anew(batch())
    return after, holdings(sharded_anew), in_place(started)


def unreduced() -> RankHoldings:
    """A backward of FSDP2 that accumulates: each rank keeps its own gradients, whole."""
    sharded = fully_shard(model())
    sharded.set_requires_gradient_sync(False)
    sharded(batch()).square().mean().backward()
    return holdings(sharded)


def shared() -> RankHoldings:
    """One weight under two names, and a module with buffers of its own."""
    plain = nn.Sequential(nn.Linear(IN, IN), nn.BatchNorm1d(IN), nn.Linear(IN, IN))
    plain[2].weight = plain[0].weight
    return holdings(plain, prefix="mine ")


def tensor_parallel() -> tuple[RankHoldings, bool]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("tp",))
    split = split_over(mesh)
    in_right_place = in_place(holdings(split))
    return step(split, torch.optim.AdamW(split.parameters()), batch(0)), in_right_place


def split_over(mesh: DeviceMesh) -> nn.Module:
    return parallelize_module(model(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def both() -> tuple[RankHoldings, bool]:
    """A mesh dp × tp: FSDP2 over dp of what tensor parallelism left over tp."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    sharded = fully_shard(split_over(mesh["tp"]), mesh=mesh["dp"])
    in_right_place = in_place(holdings(sharded))
    return step(sharded, torch.optim.AdamW(sharded.parameters()), batch(mesh["dp"].get_local_rank())), in_right_place


def hybrid() -> RankHoldings:
    """Sharded inside a node of two ranks, replicated over two nodes."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("nodes", "shards"))
    sharded = fully_shard(model(), mesh=mesh)
    return step(sharded, torch.optim.AdamW(sharded.parameters()))


def pipeline(microbatches: int = 4) -> RankHoldings:
    """Two stages under PyTorch's 1F1B: the first stage keeps two micro-batches, the last one."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    rank = dist.get_rank()
    stage = model()[:2] if rank == 0 else model()[2:]
    schedule = Schedule1F1B(
        PipelineStage(stage, rank, 2, torch.device("cpu")), microbatches, loss_fn=nn.functional.mse_loss
    )
    optimizer = torch.optim.SGD(stage.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.zeros(microbatches * BATCH, IN), torch.zeros(microbatches * BATCH, OUT)
    with saved_for_backward(stage) as saved:
        schedule.step(x) if rank == 0 else schedule.step(target=y)
    optimizer.step()
    return holdings(stage, optimizer, activations=saved, prefix=f"stage {rank}.")


def by_hand() -> RankHoldings:
    """Plain tensors that are pieces, as the reader's own strategy makes them: rows of the first layer's weight."""
    rank, ranks, plain = dist.get_rank(), dist.get_world_size(), model()
    starts = [HIDDEN * r // ranks for r in range(ranks + 1)]
    rows = slice(starts[rank], starts[rank + 1])
    plain[0].weight = nn.Parameter(plain[0].weight.data[rows].clone())
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for parameter in plain.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return holdings(plain, optimizer, places={"0.weight": ((HIDDEN, IN), (rows.start, 0))})


def in_place(held: RankHoldings) -> bool:
    """Whether every piece has the bits that stand at its place in the whole model."""
    from lab_utils.widgets.shard_map.probe import _checksum

    whole = dict(model().named_parameters())
    for piece in held.held:
        box = tuple(slice(a, a + n) for a, n in zip(piece.piece.offset, piece.piece.shape, strict=True))
        if _checksum(whole[piece.name].detach()[box]) != piece.content:
            return False
    return True
