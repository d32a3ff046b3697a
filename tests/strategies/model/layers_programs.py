"""What ranks run in the tests of model parallelism by layers: steps of a GPT or of layers in a row."""

from __future__ import annotations

BATCH, BLOCK, CHANNELS, VOCABULARY, STEPS = 4, 8, 16, 96, 10


def gpt(tied: bool = True, frozen: bool = False, layers: int = 4, vocabulary: int = VOCABULARY):
    import torch

    from lab_utils.gpt import GPT, GPTConfig

    torch.manual_seed(0)
    sizes = {"vocabulary": vocabulary, "block": BLOCK, "layers": layers, "channels": CHANNELS, "heads": 2}
    model = GPT(GPTConfig(**sizes, tied=tied)).double()
    if frozen:
        for module in (model.positions, model.blocks[0], model.blocks[2].mlp):
            module.requires_grad_(False)
    return model


def batches(steps: int = STEPS):
    import torch

    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        yield torch.randint(VOCABULARY, (2, BATCH, BLOCK), generator=draw).unbind()


def adamw(parameters):
    import torch

    return torch.optim.AdamW(parameters, lr=1e-2)


def serial_of(max_norm: float | None = None, **how) -> dict:
    import torch

    from lab_utils.strategies import serial

    model = gpt(**how)
    optimizer = adamw(model.parameters())
    for x, y in batches():
        optimizer.zero_grad()
        _, loss = model(x, y)
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return serial.snapshot(model, loss)


def by_layers(ranks: int, by_cost: bool = False, max_norm: float | None = None, again: bool = False, **how) -> dict:
    """Ten steps of four ranks, `ranks` of which hold a model together: several such groups do the same."""
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.mixed_precision import recompute
    from lab_utils.strategies.model.layers import ByLayers, measured_costs
    from lab_utils.strategies.pipeline import snapshot

    group = Mesh(pp=ranks, dp=4 // ranks).group("pp")
    model = gpt(**how)
    costs = [cost.flops for cost in measured_costs(model, *next(batches()), group=group)] if by_cost else None
    if again:
        recompute(model.blocks)
    layers = ByLayers(model, costs=costs, group=group)
    optimizer = adamw(layers.parameters())
    for x, y in batches():
        optimizer.zero_grad()
        loss = layers.run(x, y)
        if max_norm is not None:
            layers.clip_grad_norm_(max_norm)
        optimizer.step()
    return snapshot(layers, loss)


def replicated() -> dict:
    """Ten steps of two replicas of two ranks each, with half of the batch."""
    import torch.distributed as dist

    from lab_utils.gpt import cross_entropy
    from lab_utils.strategies.mesh import Mesh
    from lab_utils.strategies.model import placement
    from lab_utils.strategies.model.layers import ByLayers
    from lab_utils.strategies.pipeline import snapshot

    mesh = Mesh(pp=2, dp=2)
    layers = ByLayers(gpt(), loss_of=lambda out, y: cross_entropy(out, y) / 2, group=mesh.group("pp"))
    optimizer = adamw(layers.parameters())
    for x, y in batches():
        optimizer.zero_grad()
        loss = layers.run(*(each.chunk(2)[mesh.mine["dp"]] for each in (x, y)))
        placement.sum_gradients(layers.stage, mesh)
        optimizer.step()
    dist.all_reduce(loss, group=mesh.group("dp"))
    return snapshot(layers, loss)


# ---------------------------------------------------------------------- recorded: made in one call, run in the next
made: list = []


def make(kind: str, by_cost: bool = False, microbatches: int = 0, **how) -> list[str]:
    """Make this rank's layers, or its stage of a pipeline of micro-batches; return the names of its parameters."""
    import torch.distributed as dist

    from lab_utils.schedule import schedules
    from lab_utils.strategies.model.layers import ByLayers, measured_costs
    from lab_utils.strategies.pipeline import Pipeline, cut

    ranks = dist.get_world_size()
    model = gpt(**how) if kind == "gpt" else wide()
    x, y = batch_of(kind)
    costs = None
    if by_cost:
        costs = [cost.flops for cost in measured_costs(model, x, y, loss_of=loss_of(kind))]
    if microbatches:
        stages = cut(model, ranks, costs=costs)
        made[:] = [Pipeline(stages, schedules.gpipe(ranks, microbatches), loss_of=loss_of(kind)), x, y]
    else:
        made[:] = [ByLayers(model, costs=costs, loss_of=loss_of(kind)), x, y]
    return [name for name, _ in made[0].named_parameters()]


def run() -> float:
    """One step of what was made, without an update."""
    layers, x, y = made
    return layers.run(x, y).item()


def wide():
    """Eight equal layers without a bias."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(CHANNELS, CHANNELS, bias=False) for _ in range(8))).double()


def batch_of(kind: str):
    import torch

    if kind == "gpt":
        return next(batches())
    return torch.ones(BATCH, CHANNELS, dtype=torch.float64), torch.zeros(BATCH, CHANNELS, dtype=torch.float64)


def loss_of(kind: str):
    from torch import nn

    from lab_utils.gpt import cross_entropy

    return cross_entropy if kind == "gpt" else nn.functional.mse_loss
