"""A step of the lab's pipeline against torch.distributed.pipelining's, alternating on the same ranks and stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lab_utils.bench import timed
from lab_utils.bench.figures import RATIO, Sample, at_most, figure

RANKS, MICROBATCHES = 2, 8
TURNS = 24
LAYERS, CHANNELS, BLOCK, VOCABULARY, BATCH = 8, 128, 64, 256, 16
SCHEDULES = {  # name: (the lab's, torch's, stages per rank)
    "gpipe": ("gpipe", "ScheduleGPipe", 1),
    "1f1b": ("one_f_one_b", "Schedule1F1B", 1),
    "interleaved": ("interleaved", "ScheduleInterleaved1F1B", 2),
}


# ---------------------------------------------------------------------- on a rank
def in_turns(name: str, count: int = TURNS) -> list[tuple[float, float]]:
    """Seconds of a step by the lab and by PyTorch, in pairs; the order alternates."""
    return timed.in_turns(lab_step(name), torch_step(name), count)


def lab_step(name: str) -> Callable[[], Any]:
    """Return a step on the whole batch, which returns the loss on every rank."""
    from lab_utils.schedule import schedules
    from lab_utils.strategies.pipeline import Pipeline, step

    of_lab, _, each = SCHEDULES[name]
    virtual_stages = {"virtual_stages": each} if each > 1 else {}
    pipeline = Pipeline(_stages(each), getattr(schedules, of_lab)(RANKS, MICROBATCHES, **virtual_stages))
    optimizer = _adam(pipeline.parameters())
    x, y = _batch()
    return lambda: step(pipeline, optimizer, x, y)


def torch_step(name: str) -> Callable[[], Any]:
    """Return the same step, which returns the loss on the last rank only."""
    import torch
    import torch.distributed as dist
    from torch.distributed import pipelining

    from lab_utils.gpt import cross_entropy

    _, of_torch, each = SCHEDULES[name]
    rank, every = dist.get_rank(), _stages(each)
    own = {number: every[number] for number in range(rank, len(every), RANKS)}
    stages = [pipelining.PipelineStage(s, n, len(every), torch.device("cpu")) for n, s in own.items()]
    given = stages[0] if each == 1 else stages
    schedule = getattr(pipelining, of_torch)(given, MICROBATCHES, loss_fn=cross_entropy)
    optimizer = _adam([parameter for stage in own.values() for parameter in stage.parameters()])
    x, y = _batch()
    inputs, target = ((x,) if rank == 0 else ()), (y if rank == RANKS - 1 else None)

    def step() -> Any:
        optimizer.zero_grad()
        losses = [] if target is not None else None
        schedule.step(*inputs, target=target, losses=losses, return_outputs=False)
        optimizer.step()
        return torch.stack(losses).mean() if losses else None

    return step


def _stages(each: int) -> Any:
    import torch

    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies.pipeline import cut

    torch.manual_seed(0)
    return cut(GPT(GPTConfig(VOCABULARY, BLOCK, LAYERS, CHANNELS, heads=4, tied=False)), RANKS * each)


def _batch() -> tuple[Any, Any]:
    import torch

    x = torch.randint(VOCABULARY, (BATCH, BLOCK + 1), generator=torch.Generator().manual_seed(0))
    return x[:, :-1], x[:, 1:]


def _adam(parameters: Any) -> Any:
    import torch

    return torch.optim.AdamW(parameters, lr=1e-3, fused=True)


# ---------------------------------------------------------------------- here
def pipeline(which: str) -> Iterator[Sample]:
    from lab_utils.ranks import start_ranks

    with start_ranks(RANKS) as ranks:
        by_rank = ranks.run(in_turns, which)
    yield from timed.slowest(by_rank)


for _name, (_, _reference, _each) in reversed(SCHEDULES.items()):
    _what = f"a step of {_name} on {RANKS} ranks, {RANKS * _each} stages, {MICROBATCHES} micro-batches"
    figure(
        f"pipeline-{_name}", _what, "ms", reference=_reference, target=at_most(1.0, RATIO), rounds=1, which=_name,
    )(pipeline)  # fmt: skip
