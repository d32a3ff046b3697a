"""What the tests of gradients run on the ranks: one step of a small model, under each way of reducing."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lab_utils.widgets.gradient_flow.probe import gradient_flow

WIDTH, BATCH = 16, 8


def model(layers: int = 3) -> nn.Module:
    """Equal on every rank."""
    torch.manual_seed(0)
    parts = [part for _ in range(layers) for part in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    return nn.Sequential(*parts, nn.Linear(WIDTH, 1)).double()


def batch(rank: int, ranks: int) -> torch.Tensor:
    """This rank's part of one batch, [BATCH / ranks, WIDTH]."""
    whole = torch.randn(BATCH, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return whole.chunk(ranks)[rank]


def mine() -> torch.Tensor:
    return batch(dist.get_rank(), dist.get_world_size())


def own_gradients(ranks: int) -> dict[str, list[torch.Tensor]]:
    """What each rank computes from its part of the batch, here in one process and with nothing of the lab: [rank]."""
    found = {}
    for rank in range(ranks):
        whole = model()
        whole(batch(rank, ranks)).square().mean().backward()
        for name, parameter in whole.named_parameters():
            found.setdefault(name, []).append(parameter.grad)
    return found


def ddp(bucket_cap_mb: float = 0.003):
    """The third step, whose buckets are those of the second: whether its gradients are, too, without a recording."""
    wrapped = DistributedDataParallel(model(), bucket_cap_mb=bucket_cap_mb)
    for _ in range(2):  # DDP makes its buckets anew before the second
        wrapped.zero_grad()
        wrapped(mine()).square().mean().backward()
    plain = {name: parameter.grad.clone() for name, parameter in wrapped.module.named_parameters()}
    wrapped.zero_grad()
    loss = wrapped(mine()).square().mean()
    with gradient_flow(wrapped) as flow:
        loss.backward()
    same = all(torch.equal(plain[name], parameter.grad) for name, parameter in wrapped.module.named_parameters())
    return flow.record(), same


def announced(strategy: str):
    """The lab's own buckets, which say themselves what they send; with 3 ranks they are padded."""
    from lab_utils.strategies.data import Buckets, ShardedOptimizer

    made = model()
    if strategy == "buckets":
        Buckets(made, bucket_mb=0.003, first_mb=0.003)
    else:
        ShardedOptimizer(made, torch.optim.SGD(made.parameters(), lr=0.1), bucket_mb=0.003)
    with gradient_flow(made) as flow:
        made(mine()).square().mean().backward()
    return flow.record(), True


def fsdp():
    from torch.distributed.fsdp import fully_shard

    sharded = model()
    for part in sharded:
        if isinstance(part, nn.Linear):
            fully_shard(part)
    fully_shard(sharded)
    with gradient_flow(sharded) as flow:  # FSDP2 makes what it computes with in this first forward
        sharded(mine()).square().mean().backward()
    return flow.record(), True


def one_message():
    """The lab's own data parallelism: one all-reduce for all gradients."""
    from lab_utils.strategies.data import aggregate

    plain = model()
    with gradient_flow(plain) as flow:
        plain(mine()).square().mean().backward()
        aggregate(plain)
    return flow.record(), True


def hooks_of_its_own(forgotten: str = "2.bias"):
    """Each gradient is reduced, in place, the moment it is ready; one is forgotten, and one is not a number."""
    plain, works = model(), []

    def reduce(parameter: torch.Tensor) -> None:
        works.append(dist.all_reduce(parameter.grad, dist.ReduceOp.AVG, async_op=True))

    for name, parameter in plain.named_parameters():
        if name != forgotten:
            parameter.register_post_accumulate_grad_hook(reduce)
    plain[0].bias.register_hook(lambda gradient: gradient * torch.nan)
    with gradient_flow(plain) as flow:
        plain(mine()).square().mean().backward()
        for work in works:
            work.wait()
    return flow.record(), True


def zero_1():
    from torch.distributed.optim import ZeroRedundancyOptimizer

    wrapped = DistributedDataParallel(model())
    optimizer = ZeroRedundancyOptimizer(wrapped.parameters(), torch.optim.SGD, lr=0.1)
    with gradient_flow(wrapped, optimizer=optimizer) as flow:
        wrapped(mine()).square().mean().backward()
    return flow.record(), True


def compressed():
    """A hook of DDP's that halves what goes over the wire: the op has another size than its bucket."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

    wrapped = DistributedDataParallel(model().float(), bucket_cap_mb=0.001)
    wrapped.register_comm_hook(None, fp16_compress_hook)
    with gradient_flow(wrapped) as flow:
        wrapped(mine().float()).square().mean().backward()
    return flow.record(), True


def gpt(bucket_cap_mb: float = 0.15):
    """A GPT of two layers under DDP, each rank with its own tokens."""
    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    wrapped = DistributedDataParallel(GPT(GPTConfig()), bucket_cap_mb=bucket_cap_mb)
    ids = torch.randint(256, (4, 65), generator=torch.Generator().manual_seed(dist.get_rank()))
    for _ in range(3):  # DDP makes its buckets anew before the second step
        wrapped.zero_grad()
        _, loss = wrapped(ids[:, :-1], ids[:, 1:])
        with gradient_flow(wrapped) as flow:
            loss.backward()
    return flow.record()


def accumulates_and_leaves_out():
    """Two backwards in one block, and a bias that takes no part."""
    plain = model()
    with gradient_flow(plain) as flow:
        for _ in range(2):
            (plain[:-1](mine()) @ plain[-1].weight.T).square().mean().backward()
    return flow.record(), True


def asks_too_early() -> str:
    plain = model()
    with gradient_flow(plain) as flow:
        plain(mine()).square().mean().backward()
        try:
            flow.record()
        except RuntimeError as error:
            return str(error)
    return ""
