"""What torch.compile makes of programs with groups, for test_compiled_groups.py. Each returns plain numbers."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from lab_utils.comm import phase

BACKEND = "eager"  # dynamo is what meets groups; the rest of the way takes long


def all_of_them() -> dict[str, object]:
    programs = ddp, ddp_with_a_hook, one_graph, broken_graph, makes_a_group, phases, sharded, asks_its_group
    torch._dynamo.reset()
    return {program.__name__: program() for program in programs}


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def _trained(model: nn.Module) -> list:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        model(torch.full((2, 4), 1.0 + step + dist.get_rank())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return [getattr(parameter, "_local_tensor", parameter).detach().tolist() for parameter in model.parameters()]


def ddp() -> list:
    return _trained(torch.compile(DistributedDataParallel(_model()), backend=BACKEND))


def ddp_with_a_hook() -> list:
    """A hook of Python's that C++ calls while compiled code runs."""

    def hook(group, bucket):  # annotations would be texts here, which DDP does not take
        work = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
        return work.get_future().then(lambda done: done.value()[0] / 2)

    model = DistributedDataParallel(_model())
    model.register_comm_hook(dist.group.WORLD, hook)
    return _trained(torch.compile(model, backend=BACKEND))


def sharded() -> list:
    model = _model()
    fully_shard(model[0])
    fully_shard(model)
    return _trained(torch.compile(model, backend=BACKEND))


def makes_a_group() -> list:
    @torch.compile(backend=BACKEND)
    def step(x: torch.Tensor) -> torch.Tensor:
        x = x * 2
        dist.all_reduce(x, group=dist.new_group([0, 1]))
        return x + 1

    return step(torch.ones(2)).tolist()


def phases() -> list:
    @torch.compile(backend=BACKEND)
    def step(x: torch.Tensor) -> torch.Tensor:
        with phase("double"):
            x = x * 2
            dist.all_reduce(x)
        return x + 1

    return [step(torch.ones(2)).tolist() for _ in range(2)]


def one_graph() -> list:
    group = dist.group.WORLD

    @torch.compile(backend="aot_eager", fullgraph=True)
    def step(x: torch.Tensor) -> torch.Tensor:
        gathered = functional.all_gather_tensor(x * 2, 0, group)
        dist.all_reduce(gathered)
        return functional.reduce_scatter_tensor(gathered, "sum", 0, group) + dist.get_rank(group) + group.size()

    return step(torch.ones(2)).tolist()


def broken_graph() -> list:
    """What no graph holds: a work that is waited for later, a message."""

    @torch.compile(backend=BACKEND)
    def step(x: torch.Tensor) -> torch.Tensor:
        work = dist.broadcast(x, 0, async_op=True)
        x = x + 1
        work.wait()
        dist.barrier()
        if dist.get_rank() == 0:
            dist.send(x, 1)
        else:
            dist.recv(x, 0)
        return x * 2

    return [step(torch.ones(2) * (dist.get_rank() + 1)).tolist() for _ in range(2)]


def asks_its_group() -> list:
    @torch.compile(backend=BACKEND)
    def step(x: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
        if group.group_name == dist.group.WORLD.group_name and group == dist.group.WORLD and group.size() == 2:
            x = x + group.rank()
        return x + len(dist.get_process_group_ranks(group)) + (dist.get_backend(group) == "gloo")

    return [step(torch.ones(2), dist.group.WORLD).tolist() for _ in range(2)]
