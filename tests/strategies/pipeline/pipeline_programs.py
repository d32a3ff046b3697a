"""What ranks run in the tests of pipelines: steps by a schedule and by serial training, and where the model stands."""

from __future__ import annotations

BATCH, BLOCK, LAYERS = 10, 8, 6
WIDTHS = {"layers": (5, 3), "masked": (4, 2)}


def schedule_of(name: str, ranks: int, microbatches: int):
    """A named schedule, or a random order for so many ranks."""
    if name.startswith("random"):
        return random_order(int(name.removeprefix("random")), ranks, microbatches)
    from lab_utils.schedule import schedules

    return getattr(schedules, name)(ranks, microbatches)


def random_order(seed: int, ranks: int, microbatches: int, stages: int | None = None):
    """Any order that respects what ops need: stages on any ranks, each backward whole or in two parts."""
    import random

    from lab_utils.schedule import Schedule
    from lab_utils.schedule.schedule import BW, B, F, W

    draw = random.Random(seed)
    stages = stages or ranks + draw.randrange(3)
    owner = [*range(ranks), *(draw.randrange(ranks) for _ in range(stages - ranks))]
    draw.shuffle(owner)
    by_rank: list[list[tuple[int, int, int]]] = [[] for _ in range(ranks)]
    ready = [(F, 0, i) for i in range(microbatches)]
    while ready:
        kind, stage, i = ready.pop(draw.randrange(len(ready)))
        by_rank[owner[stage]].append((kind, stage, i))
        behind = stage + 1 if kind == F else stage - 1
        if kind == F and behind < stages:
            ready.append((F, behind, i))
            continue
        at = stage if kind == F else behind  # after the last stage's forward comes its own backward
        if kind != W and at >= 0:
            ready.append((draw.choice((B, BW)), at, i))
        if kind == B:
            ready.append((W, stage, i))
    return Schedule.of_steps(f"random {seed}", by_rank)


def model_of(kind: str = "gpt"):
    """gpt: tied, with frozen weights. layers: modules in a row, one used twice. masked: two tensors between stages."""
    import torch
    from torch import nn

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    if kind == "masked":
        return masked().double()
    if kind == "layers":
        shared = nn.Linear(12, 12)
        ends = (nn.Linear(5, 12), nn.Sequential(shared, nn.Tanh(), shared), nn.LayerNorm(12))
        return nn.Sequential(*ends, *(nn.Linear(12, 12) for _ in range(11)), shared, nn.Linear(12, 3)).double()
    model = GPT(GPTConfig(block=BLOCK, layers=LAYERS, channels=16, heads=2, tied=True)).double()
    model.blocks[1].mlp.up.weight.requires_grad_(False)
    return model


def masked():
    """Three modules; the first gives a mask beside the value, which the second applies."""
    import torch
    from torch import nn

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 6)

        def forward(self, x):
            return self.layer(x), torch.ones(len(x), dtype=torch.bool)

    class Masked(nn.Module):
        def forward(self, both):
            return both[0] * both[1][:, None]

    return nn.Sequential(Both(), Masked(), nn.Linear(6, 2))


def batch_of(kind: str, step: int = 0):
    import torch

    draw = torch.Generator().manual_seed(step)
    if kind != "gpt":
        return (torch.randn(BATCH, n, generator=draw, dtype=torch.float64) for n in WIDTHS[kind])
    x = torch.randint(256, (BATCH, BLOCK + 1), generator=draw)
    return x[:, :-1], x[:, 1:]


def serial_of(kind: str = "gpt", steps: int = 1) -> dict:
    """Where serial training stands after so many steps."""
    import torch

    from lab_utils.gpt import cross_entropy
    from lab_utils.strategies import serial

    model = model_of(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        x, y = batch_of(kind, step)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y) if kind != "gpt" else cross_entropy(model(x)[0], y)
        loss.backward()
        optimizer.step()
    return serial.snapshot(model, loss.detach())


def pipeline_of(schedule, kind: str = "gpt", **options):
    import torch

    from lab_utils.gpt import cross_entropy
    from lab_utils.strategies.pipeline import Pipeline

    loss_of = torch.nn.functional.mse_loss if kind != "gpt" else cross_entropy
    return Pipeline(model_of(kind), schedule, loss_of=loss_of, **options)


def pipelined(schedule, kind: str = "gpt", steps: int = 1, **options) -> dict:
    """Where the pipeline stands after so many steps, and the most micro-batches it held."""
    import torch

    from lab_utils.strategies.pipeline import snapshot, step

    pipeline = pipeline_of(schedule, kind, **options)
    optimizer = torch.optim.AdamW(pipeline.parameters(), lr=1e-2)
    for number in range(steps):
        loss = step(pipeline, optimizer, *batch_of(kind, number))
    return {**snapshot(pipeline, loss), "peak": pipeline.peak_activations}


def several(schedules, kind: str, **options) -> list[dict]:
    """The same of several schedules, one after the other."""
    return [pipelined(schedule, kind, **options) for schedule in schedules]
