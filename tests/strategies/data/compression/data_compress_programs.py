"""What ranks run in the tests of compressed gradients: gradients that are given, and a GPT on real text."""

from __future__ import annotations

SHAPES = ((8, 6), (5,), (7, 9), (2, 2), (4, 3, 2, 2))
MATRICES, WHOLE = (0, 2, 4), (1, 3)  # of rank 2 with fewer elements than they have, and the others


def reduction(how: str):
    """The reduction that is called so: "TopK(0.1)"."""
    import torch

    from lab_utils.strategies.data.buckets.overlapped import mean
    from lab_utils.strategies.data.compression.half_precision import HalfPrecision
    from lab_utils.strategies.data.compression.power_sgd import PowerSGD
    from lab_utils.strategies.data.compression.top_k import TopK
    from lab_utils.strategies.data.hierarchical_all_reduce import MultiHop

    known = {each.__name__: each for each in (HalfPrecision, MultiHop, PowerSGD, TopK)}
    return eval(how, {"mean": mean, "torch": torch} | known)


def attached(how: str):
    """(parameters, their reduction), in Buckets."""
    import torch
    from torch import nn

    from lab_utils.strategies.data.buckets.overlapped import Buckets

    model = nn.ParameterList(torch.zeros(shape, dtype=torch.float64) for shape in SHAPES)
    reduce = reduction(how)
    Buckets(model, reduce=reduce)
    return model, reduce


def gradients(steps: int, stays: bool):
    """This rank's, of each step."""
    import torch
    import torch.distributed as dist

    for step in range(steps):
        draw = torch.Generator().manual_seed(1000 * (not stays) * step + dist.get_rank())
        yield [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in SHAPES]


def backward(model, given) -> None:
    """The second parameter's gradient is made last: not the order in which buckets are first cut."""
    for parameter in model:
        parameter.grad = None
    order = [1, 4, 0, 3, 2]
    loss = sum((model[i] * given[i]).sum() for i in order)
    loss.backward()


def aggregated(how: str, steps: int, stays: bool = False):
    """Of each step this rank's gradients, and what they became; then the errors that are kept, of all parameters."""
    model, reduce = attached(how)
    had, became = [], []
    for given in gradients(steps, stays):
        backward(model, given)
        had.append([each.numpy() for each in given])
        became.append([parameter.grad.numpy().copy() for parameter in model])
    return had, became, [error.numpy() for error in errors(model, reduce)]


def errors(model, reduce) -> list:
    import torch

    of = reduce.errors.of if hasattr(reduce, "errors") else {}
    return [of.get(parameter, torch.zeros_like(parameter)).detach().clone() for parameter in model]


def failing(how: str) -> bool:
    """Whether errors after a step and a backward that fails half-way are those after the step."""
    model, reduce = attached(how)
    first, second = gradients(2, False)
    backward(model, first)
    before = errors(model, reduce)
    hook = model[1].register_hook(lambda _: 1 / 0)
    try:
        backward(model, second)
    except ZeroDivisionError:
        hook.remove()
    return all(a.equal(b) for a, b in zip(before, errors(model, reduce), strict=True)) and any(b.any() for b in before)


def trained(how: str, steps: int, lr: float = 0.5, seed: int = 0):
    """A GPT trained on real text by SGD whose rate falls to 0: its loss there afterwards, bytes that this rank sent,
    and the buckets of each step, each as a list of its parameters' shapes.
    """
    import torch
    import torch.distributed as dist

    from lab_utils.corpus import Batches, ByteTokens, cut, load
    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies import serial
    from lab_utils.strategies.data.buckets.overlapped import Buckets
    from lab_utils.strategies.recipe import evaluate, tensor

    torch.manual_seed(seed)
    model = GPT(GPTConfig(block=16, layers=1, channels=32, heads=2)).double()
    model.blocks[0].norm1.weight.requires_grad_(False)
    reduce, held = reduction(how), []
    buckets = Buckets(model, reduce=reduce, first_mb=0.02, bucket_mb=0.05)
    blocks, optimizer = cut(ByteTokens().encode(load()[:60_000]), 16), torch.optim.SGD(model.parameters(), lr)
    batches, schedule = Batches(len(blocks), 8), torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for i in range(steps):
        mine = blocks[batches.part(i, dist.get_rank(), dist.get_world_size())]
        held.append([[tuple(view.shape) for view in bucket.views] for bucket in buckets.buckets])
        serial.step(model, optimizer, tensor(mine.x), tensor(mine.y))
        schedule.step()
    return evaluate(model, blocks[:256]), getattr(reduce, "sent_bytes", None), held


def one_bucket(how: str, size_bytes: int) -> int | None:
    """A backward whose gradients are one bucket of so many bytes; what this rank sent."""
    import torch
    from torch import nn

    from lab_utils.strategies.data.buckets.bucket import assign_buckets
    from lab_utils.strategies.data.buckets.overlapped import Buckets

    model = nn.Linear(size_bytes // 8, 1, bias=False, dtype=torch.float64)
    reduce, fixed = reduction(how), assign_buckets(list(model.parameters()), size_bytes, size_bytes, 4)
    Buckets(model, reduce=reduce, fixed=fixed)  # whoever gives buckets has made the ranks alike
    model(torch.ones(1, size_bytes // 8, dtype=torch.float64)).sum().backward()
    return getattr(reduce, "sent_bytes", None)
