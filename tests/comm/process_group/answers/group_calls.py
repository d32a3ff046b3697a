"""A group's methods called in every way that pybind allows, and in ways that it or gloo refuses."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C import _distributed_c10d as c10d

SHORT, MAX = timedelta(seconds=30), dist.ReduceOp.MAX
Calls = dict[str, Callable[[dist.ProcessGroup], object]]


def calls() -> Calls:
    return {**_in_place(), **_gathering(), **_scattering(), **_past_the_methods(), **_refused()}


def one() -> torch.Tensor:
    return torch.full((2,), float(dist.get_rank() + 1))


def many() -> list[torch.Tensor]:
    return [torch.empty(2) for _ in range(dist.get_world_size())]


def whole(count: int = 2) -> torch.Tensor:
    return torch.ones(count * dist.get_world_size())


def at_root(value: list) -> list:
    return value if dist.get_rank() == 0 else []


def into(call: Callable[..., dist.Work], *tensors: torch.Tensor | list) -> list:
    """What the wait returns, and the tensors afterwards."""
    return [call(*tensors).wait(), *tensors]


def _in_place() -> Calls:
    return {
        "allreduce tensor": lambda g: into(lambda t: g.allreduce(t), one()),
        "allreduce tensors": lambda g: into(lambda t: g.allreduce([t]), one()),
        "allreduce op": lambda g: into(lambda t: g.allreduce(t, op=MAX), one()),
        "allreduce op placed": lambda g: into(lambda t: g.allreduce([t], MAX, SHORT), one()),
        "allreduce opts": lambda g: into(lambda t: g.allreduce(tensors=[t], opts=c10d.AllreduceOptions()), one()),
        "allreduce_coalesced": lambda g: into(lambda t: g.allreduce_coalesced([t]), one()),
        "broadcast": lambda g: into(lambda t: g.broadcast(t, root=0), one()),
        "broadcast placed": lambda g: into(lambda t: g.broadcast(t, 1, SHORT), one()),
        "broadcast tensors": lambda g: into(lambda t: g.broadcast([t]), one()),
        "reduce": lambda g: into(lambda t: g.reduce(t, root=0, op=MAX), one())[0],
        "reduce placed": lambda g: into(lambda t: g.reduce(t, 1, MAX, SHORT), one())[0],
        "reduce tensors": lambda g: into(lambda t: g.reduce([t]), one())[0],
        "reduce opts": lambda g: into(lambda t: g.reduce(tensors=[t], opts=c10d.ReduceOptions()), one())[0],
        "barrier": lambda g: g.barrier().wait(),
        "barrier in time": lambda g: g.barrier(timeout=SHORT).wait(),
        "barrier opts": lambda g: g.barrier(opts=c10d.BarrierOptions()).wait(),
        "monitored_barrier": lambda g: g.monitored_barrier(),
    }


def _gathering() -> Calls:
    single = {
        name: lambda g, name=name: into(lambda o, t: getattr(g, name)(output=o, input=t), whole(), one())
        for name in ("_allgather_base", "all_gather_single")
    }
    coalesced = {
        name: lambda g, name=name: into(lambda o, t: getattr(g, name)(outputs=[o], inputs=[t]), whole(), one())
        for name in ("all_gather_single_coalesced", "allgather_into_tensor_coalesced")
    }
    return single | coalesced | {
        "two coalesced": lambda g: into(
            lambda o, p: g.all_gather_single_coalesced([o, p], [one(), one() * 2]), whole(), whole()
        ),
        "allgather": lambda g: into(lambda o, t: g.allgather(o, t), many(), one()),
        "allgather lists": lambda g: into(lambda o, t: g.allgather([o], [t]), many(), one()),
        "allgather_coalesced": lambda g: into(lambda o, t: g.allgather_coalesced([[a] for a in o], [t]), many(), one()),
        "_allgather_base placed": lambda g: into(lambda o, t: g._allgather_base(o, t), whole(), one()),
        "gather": lambda g: into(lambda o, t: g.gather(at_root(o), t, root=0), many(), one())[0],
        "gather lists": lambda g: into(lambda o, t: g.gather(at_root([o]), [t]), many(), one())[0],
    }  # fmt: skip


def _scattering() -> Calls:
    n = dist.get_world_size()
    single = {
        name: lambda g, name=name: into(lambda o, t: getattr(g, name)(outputTensor=o, inputTensor=t), one(), whole())
        for name in ("_reduce_scatter_base", "reduce_scatter_single")
    }
    coalesced = {
        name: lambda g, name=name: into(lambda o, t: getattr(g, name)([o], [t]), one(), whole())
        for name in ("reduce_scatter_single_coalesced", "reduce_scatter_tensor_coalesced")
    }
    sizes = {"output_split_sizes": [1] * n, "input_split_sizes": [1] * n}
    return single | coalesced | {
        "scatter": lambda g: into(lambda o, t: g.scatter(o, at_root(t), root=0), torch.empty(2), [one()] * n),
        "scatter lists": lambda g: into(lambda o, t: g.scatter([o], at_root([t])), torch.empty(2), [one()] * n),
        "reduce_scatter": lambda g: into(lambda o, t: g.reduce_scatter(o, t, op=MAX), torch.empty(2), [one()] * n),
        "reduce_scatter lists": lambda g: into(lambda o, t: g.reduce_scatter([o], [t]), torch.empty(2), [one()] * n),
        "two coalesced to scatter": lambda g: into(
            lambda o, p: g.reduce_scatter_single_coalesced([o, p], [whole(), whole() * 2]), one(), one()
        ),
        "alltoall": lambda g: into(lambda o, t: g.alltoall(o, t), many(), [one() for _ in range(n)]),
        "alltoall_base": lambda g: into(lambda o, t: g.alltoall_base(o, t, [], []), whole(1), whole(1)),
        "alltoall_base in time": lambda g: into(lambda o, t: g.alltoall_base(o, t, [], [], SHORT), whole(1), whole(1)),
        "all_to_all_single": lambda g: into(lambda o, t: g.all_to_all_single(o, t, **sizes), whole(1), whole(1)),
        "messages": _messages,
    }  # fmt: skip


def _messages(group: dist.ProcessGroup) -> object:
    got = torch.zeros(2)
    if group.rank() == 0:
        return [group.send(tensors=[torch.ones(2)], dstRank=1, tag=3).wait(), group.send([torch.ones(2)], 1, 4).wait()]
    done = group.recv(tensors=[got], srcRank=0, tag=3).wait()
    second = group.recv_anysource([got], 4)
    return [done, second.wait(), second._source_rank(), got]


def _past_the_methods() -> Calls:
    n = dist.get_world_size()
    return {
        "an op of c10d's": _an_op,
        "kept by C++": _kept_by_cpp,
        "all_gather_into_tensor_out": lambda g: _functional(g, "all_gather_into_tensor_out", one(), n, out=whole()),
        "reduce_scatter_tensor_out": lambda g: _functional(
            g, "reduce_scatter_tensor_out", whole(), "sum", n, out=torch.empty(2)
        ),
    }


def _an_op(group: dist.ProcessGroup) -> object:
    """As traced programs call it: with the group in its box."""
    given, gathered = one(), whole()
    _, work = torch.ops.c10d._allgather_base_(gathered, given, group.boxed(), True, -1)
    return [c10d.Work.unbox(work).wait(), given, gathered]


def _kept_by_cpp(group: dist.ProcessGroup) -> object:
    """Python lets go of the work, C++ waits for it, and then it is gone."""
    given = one()
    work = group.allreduce([given])
    gone = weakref.ref(work)
    c10d._register_work(given, work)
    del work
    gc.collect()
    return [torch.ops._c10d_functional.wait_tensor(given), gone() is None]


def _functional(group: dist.ProcessGroup, name: str, *args: object, **kwargs: object) -> torch.Tensor:
    ops = torch.ops._c10d_functional
    return ops.wait_tensor(getattr(ops, name)(*args, group.group_name, **kwargs))


def _refused() -> Calls:
    return {
        "no arguments": lambda g: g.allreduce(),
        "no arguments to reduce": lambda g: g.reduce(),
        "a wrong type": lambda g: g.broadcast("x", 0),
        "a wrong name": lambda g: g.reduce(one(), rote=0),
        "no such root": lambda g: dist.broadcast(one(), 7),
        "no such root, below 0": lambda g: g.broadcast(one(), -1),
        "no such root of reduce": lambda g: dist.reduce(one(), group_dst=9),
        "no such root of gather": lambda g: g.gather([], one(), 7),
        "no such root of scatter": lambda g: g.scatter(one(), [], 7),
        "no tensors": lambda g: g.allreduce([]),
        "no tensors to broadcast": lambda g: g.broadcast([]),
        "no tensors to gather": lambda g: g.allgather([], []),
        "no tensors to send": lambda g: g.send([], 0, 0),
        "no outputs to scatter": lambda g: g.scatter([], []),
        "types that differ": lambda g: g.allgather([many()], [one().double()]),
        "sizes that differ": lambda g: g._allgather_base(torch.empty(3), one()),
        "batch of none": lambda g: dist.batch_isend_irecv([]),
    }
