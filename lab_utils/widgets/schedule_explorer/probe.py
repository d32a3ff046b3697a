"""The functions that ScheduleExplorer runs on ranks. The kernel imports this too, so torch is imported inside them."""

from __future__ import annotations

from lab_utils.schedule import Schedule


def _begin(stages: int, microbatches: int):
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    model = GPT(GPTConfig(block=16, layers=max(2, stages), channels=32, heads=4)).double()
    tokens = torch.randint(256, (2 * microbatches, 17))
    return model, tokens[:, :-1], tokens[:, 1:]


def trained(schedule: Schedule, steps: int) -> dict | None:
    import torch
    import torch.distributed as dist

    from lab_utils.comm import report
    from lab_utils.strategies.pipeline import Pipeline, snapshot, step

    fewer = schedule.ranks < dist.get_world_size()
    group = dist.new_group(range(schedule.ranks)) if fewer else dist.group.WORLD
    if dist.get_rank() >= schedule.ranks:
        return None
    model, x, y = _begin(schedule.stages, schedule.microbatches)
    pipeline = Pipeline(model, schedule, group=group)
    optimizer = torch.optim.AdamW(pipeline.parameters(), lr=1e-3)
    for number in range(steps):
        loss = step(pipeline, optimizer, x, y)
        report(step=number + 1)
    return snapshot(pipeline, loss) | {"peak": pipeline.peak_activations}


def trained_serially(stages: int, microbatches: int, steps: int) -> dict | None:
    import torch
    import torch.distributed as dist

    from lab_utils.strategies import serial

    if dist.get_rank():
        return None
    model, x, y = _begin(stages, microbatches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        loss = serial.step(model, optimizer, x, y)
    return serial.snapshot(model, loss)
