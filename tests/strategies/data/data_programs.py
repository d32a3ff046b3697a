"""What ranks run in the tests of data parallelism: eight steps by a strategy, and where the model then stands."""

from __future__ import annotations

STEPS, BATCH, BLOCK = 8, 7, 16


def tied():
    """A GPT whose output layer shares its weight with the embedding, and with one frozen layer."""
    from lab_utils.gpt import GPT, GPTConfig

    model = GPT(GPTConfig(block=BLOCK, layers=3, channels=16, heads=2)).double()
    model.blocks[1].mlp.up.weight.requires_grad_(False)
    return model


def strategies(units=None):
    """name: attach(model, optimizer, group) -> the attached. `units` of stage 3, a GPT's blocks unless given."""
    from lab_utils.strategies.data.buckets.overlapped import Buckets
    from lab_utils.strategies.data.compared.strategies import Flat, OneByOne
    from lab_utils.strategies.data.hierarchical_all_reduce import MultiHop
    from lab_utils.strategies.data.zero.zero1_and_zero2 import ShardedGradients, ShardedOptimizer
    from lab_utils.strategies.data.zero.zero3 import ShardedParameters

    small = {"bucket_mb": 0.02}

    def two_level(model, optimizer, group):
        return Buckets(model, group=group, reduce=MultiHop(ranks_per_node=1 if group.size() % 2 else 2), **small)

    return {
        "one by one": OneByOne,
        "flat": Flat,
        "two-level": two_level,
        "buckets": lambda model, optimizer, group: Buckets(model, group=group, first_mb=0.01, **small),
        "zero1": lambda model, optimizer, group: ShardedOptimizer(model, optimizer, group=group, **small),
        "zero2": lambda model, optimizer, group: ShardedGradients(model, optimizer, group=group, **small),
        "zero3": lambda model, optimizer, group: ShardedParameters(
            model, optimizer, units or model.blocks, group=group
        ),
    }


def make(strategy: str, group, seed: int, make_model=tied):
    """(model, optimizer with two groups, the attached strategy): the same model for each seed."""
    import torch

    torch.manual_seed(seed)
    model = make_model()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors}], lr=1e-2)
    return model, optimizer, strategies()[strategy](model, optimizer, group) if strategy != "serial" else None


def batches(steps: int):
    """x, y [BATCH, BLOCK] for each step, the same on every rank."""
    import torch

    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randint(256, (BATCH, BLOCK + 1), generator=draw)
        yield x[:, :-1], x[:, 1:]


def train(strategy: str, ranks: int = 1, steps: int = STEPS, micro: int = 1) -> dict | None:
    """What parity compares after so many steps on uneven shards; None on ranks that are not among the first `ranks`."""
    import torch.distributed as dist

    group = dist.new_group(list(range(ranks)))  # by all ranks of the world
    if dist.get_rank() >= ranks:
        return None
    model, optimizer, attached = make(strategy, group, seed=dist.get_rank())
    for x, y in batches(steps):
        loss = step(model, optimizer, attached, x, y, group, micro)
    return rank_state(model, attached, loss, group)


def step(model, optimizer, attached, x, y, group, micro: int = 1):
    """One step on this rank's part of x, y, in so many micro-batches; the loss of the whole batch."""
    import contextlib

    import torch.distributed as dist

    from lab_utils.strategies.data.gradient_accumulation import accumulate

    optimizer.zero_grad()
    mine = [each.tensor_split(group.size())[group.rank()] for each in (x, y)]
    parts = list(zip(*(each.tensor_split(micro) for each in mine), strict=True))
    buckets = getattr(attached, "buckets", attached)
    no_sync = getattr(buckets, "no_sync", contextlib.nullcontext)
    loss = accumulate(model, parts, no_sync=no_sync, group=group)
    dist.all_reduce(loss, dist.ReduceOp.AVG, group=group)
    optimizer.step()
    return loss


def rank_state(model, attached, loss, group) -> dict:
    """A snapshot as serial's: what is sharded is put together."""
    from lab_utils.strategies.data.zero.snapshot import snapshot

    return snapshot(model, loss, attached)
