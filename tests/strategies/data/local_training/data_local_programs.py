"""What ranks run in the tests of local training: some steps alone, then a round, again and again."""

from __future__ import annotations

BATCH, BLOCK = 8, 16


def model_and(inner: str, seed: int):
    """(a small GPT with tied weights and a frozen layer, its optimizer)."""
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(seed)
    model = GPT(GPTConfig(block=BLOCK, layers=1, channels=16, heads=2)).double()
    model.blocks[0].mlp.up.weight.requires_grad_(False)
    made = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.2),
        "momentum": lambda: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
        "adamw": lambda: torch.optim.AdamW(model.parameters(), lr=5e-3),
    }
    return model, made[inner]()


def attach(how: str, model, optimizer):
    """The object that is called so: "LocalSGD(every=4)"; None for serial training."""
    from functools import partial

    from lab_utils.strategies.data.buckets.overlapped import Buckets
    from lab_utils.strategies.data.local_training import DiLoCo, LocalSGD

    known = {each.__name__: partial(each, model, optimizer) for each in (LocalSGD, DiLoCo)}
    return eval(how, known | {"Buckets": partial(Buckets, model)})


def text(steps: int, parallel: bool = True):
    """x, y of each step: real text, this rank's part of the batch or all of it."""
    import torch.distributed as dist

    from lab_utils.corpus import Batches, ByteTokens, cut, load
    from lab_utils.strategies.recipe import tensor

    rank, size = (dist.get_rank(), dist.get_world_size()) if parallel else (0, 1)
    blocks = cut(ByteTokens().encode(load()[:30_000]), BLOCK)
    batches = Batches(len(blocks), BATCH)
    for i in range(steps):
        mine = blocks[batches.part(i, rank, size)]
        yield tensor(mine.x), tensor(mine.y)


def trained(how: str, inner: str, steps: int) -> dict:
    """A snapshot after so many steps, what this rank sent, and the loss on the text's first blocks."""
    import torch.distributed as dist

    from lab_utils.strategies import serial

    model, optimizer = model_and(inner, seed=dist.get_rank() if how != "None" else 0)
    attached = attach(how, model, optimizer)
    for x, y in text(steps, parallel=how != "None"):
        loss = serial.step(model, optimizer, x, y)
    return serial.snapshot(model, loss) | {"sent": getattr(attached, "sent_bytes", 0), "held": held(model)}


def held(model) -> float:
    from lab_utils.corpus import ByteTokens, cut, load
    from lab_utils.strategies.recipe import evaluate

    return evaluate(model, cut(ByteTokens().encode(load()[:30_000]), BLOCK)[:256])


def path(how: str, steps: int) -> list:
    """All parameters as one, before the first step, and after each just before ranks may synchronise and after that."""

    from lab_utils.strategies import serial

    model, optimizer = model_and("adamw", seed=0)
    stood = [whole(model)]
    optimizer.register_step_post_hook(lambda *_: stood.append(whole(model)))  # runs before the strategy's own
    attach(how, model, optimizer)
    for x, y in text(steps):
        serial.step(model, optimizer, x, y)
        stood.append(whole(model))
    return stood


def whole(model):
    import torch

    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).numpy()


def left_over() -> list[bool]:
    """Whether ranks are equal after 5 steps with a round every 4, after one round more, and once it is removed."""
    import torch.distributed as dist

    from lab_utils.strategies import serial

    model, optimizer = model_and("adamw", seed=0)
    local = attach("LocalSGD(every=4)", model, optimizer)
    equal, sent = [], []
    for step, (x, y) in enumerate(text(13)):
        serial.step(model, optimizer, x, y)
        if step == 4:
            equal.append(all_equal(model))
            local.synchronise()
            equal.append(all_equal(model))
            local.synchronise()  # nothing to do
            sent.append(local.sent_bytes)
            local.remove()
    equal.append(all_equal(model))
    assert local.sent_bytes == sent[0], dist.get_rank()
    return equal


def all_equal(model) -> bool:
    import torch
    import torch.distributed as dist

    mine = torch.from_numpy(whole(model))
    least, most = mine.clone(), mine.clone()
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return least.equal(most)
