"""What ranks run in the tests of the parameter server: rank 0 serves, the others work."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import data_programs

SLOW = 3


def synchronous(ranks: int, steps: int = data_programs.STEPS) -> dict | None:
    """What parity compares after so many AdamW steps on uneven shards; None on ranks that take no part."""
    import torch.distributed as dist

    group = dist.new_group(list(range(ranks)))
    if dist.get_rank() >= ranks:
        return None
    from lab_utils.strategies.data.parameter_server.synchronous import SynchronousServer

    model, optimizer, _ = data_programs.make("serial", group, seed=dist.get_rank())
    server = SynchronousServer(model, optimizer, group=group)
    for x, y in data_programs.batches(steps):
        _step(server, x, y)
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}  # the server's only
    return {"loss": server.loss, "gradients": gradients, "parameters": _parameters(model)}


def _parameters(model) -> dict:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _step(server, x, y) -> None:
    server.optimizer.zero_grad()
    if not server.is_server:
        x, y = (each.tensor_split(len(server.worker_ranks))[server.group.rank() - 1] for each in (x, y))
        loss = server.model(x, y)[1]
        loss.backward()
        server.note(loss, len(x))
    server.optimizer.step()


def all_reduced(ranks: int, steps: int) -> None:
    """Training steps' one message each: an all-reduce of the same gradients."""
    import torch.distributed as dist

    from lab_utils.strategies.data.all_reduce import aggregate

    group = dist.new_group(list(range(ranks)))
    if dist.get_rank() < ranks:
        model, _, _ = data_programs.make("serial", group, seed=0)
        x, y = next(data_programs.batches(1))
        for _ in range(steps):
            model.zero_grad()
            model(x, y)[1].backward()
            aggregate(model, group)


def trained_bytes() -> int:
    return sum(p.nbytes for p in data_programs.tied().parameters() if p.requires_grad)


def network(seed: int, mixed: bool = False):
    """10 inputs, 1 output; its last layer in another precision, so that a push is two messages, where `mixed`."""
    import torch
    from torch import nn

    class Narrow(nn.Linear):
        def forward(self, x):
            return super().forward(x.float()).double()

    torch.manual_seed(seed)
    last = Narrow(20, 1).float() if mixed else nn.Linear(20, 1).double()
    return nn.Sequential(nn.Linear(10, 20).double(), nn.Tanh(), last)


def samples(worker: int, clock: int):
    """x [16, 10], y [16, 1] of a worker's n-th step, which can be learnt."""
    import torch

    draw = torch.Generator().manual_seed(1000 * worker + clock)
    x = torch.rand(16, 10, generator=draw, dtype=torch.float64)
    return x, (x[:, :5] * x[:, 5:]).sum(1, keepdim=True)


def loss_of(model, x, y):
    from torch.nn.functional import mse_loss

    return mse_loss(model(x), y)


def make_optimizer(model, kind: str = "AdamW"):
    import torch

    if kind == "SGD":
        return torch.optim.SGD(model.parameters(), 0.02)
    return torch.optim.AdamW(model.parameters(), 0.005)


def asynchronous(updates: int, kind: str = "AdamW", slow: int = 1, mixed: bool = False, **how) -> dict:
    """The log, the loss on the same samples after each update (server), and the parameters (every rank)."""
    import torch
    import torch.distributed as dist

    from lab_utils.strategies.data.parameter_server.asynchronous import AsynchronousServer

    rank = dist.get_rank()
    model = network(seed=rank, mixed=mixed)
    server = AsynchronousServer(model, make_optimizer(model, kind), **how)
    log, losses, clock = [], [], 0
    if server.is_server:
        for applied in server.serve(updates):
            log.append(SimpleNamespace(**asdict(applied)))  # of a class that needs no torch to be read
            with torch.no_grad():
                losses.append(loss_of(model, *samples(99, 0)).item())
    else:
        while server.is_open:
            mine = samples(rank, clock := clock + 1)
            with torch.no_grad():  # a slower rank runs several forwards for one
                for _ in range(slow - 1 if rank == SLOW else 0):
                    loss_of(model, *mine)
            loss = loss_of(model, *mine)
            loss.backward()
            server.note(loss, 16)
            server.optimizer.step()
    parameters = [p.detach().clone() for p in model.parameters()]
    return {"log": log, "losses": losses, "parameters": parameters, "updates": server.updates, "steps": clock}


def first_alone(program, *args):
    """What the program returns on rank 0, None on the others, where it does not run: for what is the same on all."""
    import torch.distributed as dist

    return program(*args) if dist.get_rank() == 0 else None


def replayed(log, kind: str = "AdamW") -> list:
    """The parameters after serial updates with gradients as stale as the log says."""
    model = network(seed=0)
    optimizer, versions = make_optimizer(model, kind), []
    for applied in log:
        versions.append({name: value.clone() for name, value in model.state_dict().items()})
        stale = network(seed=0)
        stale.load_state_dict(versions[applied.number - 1 - applied.staleness])
        loss_of(stale, *samples(applied.worker, applied.clock)).backward()
        for parameter, of in zip(model.parameters(), stale.parameters(), strict=True):
            parameter.grad = of.grad
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def rounds(number: int, kind: str, times: float) -> tuple[list, list[float]]:
    """(parameters, losses) of serial updates, each with `times` the mean of the gradients of the three workers."""
    import torch

    model = network(seed=0)
    optimizer, losses = make_optimizer(model, kind), []
    for clock in range(1, number + 1):
        optimizer.zero_grad()
        for worker in (1, 2, 3):
            (loss_of(model, *samples(worker, clock)) * times / 3).backward()
        optimizer.step()
        with torch.no_grad():
            losses.append(loss_of(model, *samples(99, 0)).item())
    return [p.detach() for p in model.parameters()], losses


def without_samples() -> list:
    """The batch's only sample is on the last of the workers; what one step of plain SGD makes of a weight 0."""
    import torch
    import torch.distributed as dist
    from torch import nn

    from lab_utils.strategies.data.parameter_server.synchronous import SynchronousServer

    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    server = SynchronousServer(model, torch.optim.SGD(model.parameters(), 0.5))
    if not server.is_server:
        x = torch.ones(1 if dist.get_rank() == dist.get_world_size() - 1 else 0, 1)
        loss = model(x).mean()  # NaN without samples
        loss.backward()
        server.note(loss, len(x))
    server.optimizer.step()
    return [model.weight.item(), server.loss]


def without_a_gradient() -> None:
    """The second layer is not used."""
    import torch
    from torch import nn

    from lab_utils.strategies.data.parameter_server.synchronous import SynchronousServer

    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    server = SynchronousServer(model, torch.optim.SGD(model.parameters(), 0.1))
    if not server.is_server:
        model[0](torch.ones(1, 2)).sum().backward()
    server.optimizer.step()


def removed() -> list:
    """After `remove`, a step is this rank's own: what it makes of a gradient of ones."""
    import torch
    from torch import nn

    from lab_utils.strategies.data.parameter_server.synchronous import SynchronousServer

    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    SynchronousServer(model, optimizer).remove()
    model.weight.grad = torch.ones(1, 1)
    optimizer.step()
    return model.weight.tolist()
