"""Asks a process group, its works and what PyTorch builds on it everything that has an answer, errors too."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C import _distributed_c10d as c10d
from torch.nn.parallel import DistributedDataParallel

CPU = torch.device("cpu")
MINUTE = timedelta(minutes=1)
_ELSEWHERE = "time", "master", "ifname", "debug", "visible", "transport"  # of the machine and its environment


def answers() -> dict[str, object]:
    """What each of two ranks is told, by question."""
    group = dist.group.WORLD
    timeout = group._get_backend(CPU).options._timeout
    said = {f"group.{asked}": _said(ask, group) for asked, ask in _of_a_group().items()}
    said |= {f"call.{asked}": _said(ask, group) for asked, ask in _calls().items()}
    for asked, start in _works().items():
        dist.barrier()
        said |= {f"work.{asked}.{question}": answer for question, answer in _of_a_work(start, group).items()}
    dist.barrier()
    group.set_timeout(timeout)
    return said | {f"ddp.{asked}": answer for asked, answer in _logged().items()}


def _said(ask: Callable, *about: object) -> object:
    """The answer without what differs from run to run, or the error's first line."""
    try:
        return _plainly(ask(*about))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _plainly(answer: object) -> object:
    if isinstance(answer, torch.Tensor):
        return answer.tolist()
    if isinstance(answer, list | tuple):
        return [_plainly(part) for part in answer]
    return answer if isinstance(answer, bool | int | float | str | None) else type(answer).__name__


def _of_a_group() -> dict[str, Callable]:
    other = dist.new_group([0, 1], timeout=MINUTE, group_desc="other")
    return {
        "rank": lambda g: g.rank(),
        "size": lambda g: g.size(),
        "name": lambda g: g.name(),
        "_get_backend_name": lambda g: g._get_backend_name(),
        "group_name": lambda g: g.group_name,
        "group_desc": lambda g: g.group_desc,
        "desc of another": lambda g: other.group_desc,
        "get_group_store": lambda g: type(g.get_group_store()).__name__,
        "the store works": lambda g: (g.get_group_store().set("a", "b"), g.get_group_store().get("a").decode()),
        "_device_types": lambda g: [str(device) for device in g._device_types],
        "_get_backend": lambda g: type(g._get_backend(CPU)).__name__,
        "its options": lambda g: g._get_backend(CPU).options._timeout.total_seconds() > 0,
        "no backend": lambda g: g._get_backend(torch.device("meta")),
        "_backend_id": lambda g: g._backend_id(g.GLOO) == g._backend_id(g.GLOO) != 0,
        "no backend id": lambda g: g._backend_id(g.MPI),
        "_id": lambda g: g._id() == g._id() != 0,
        "bound_device_id": lambda g: g.bound_device_id,
        "use_pg_for_symm_mem_rendezvous": lambda g: g.use_pg_for_symm_mem_rendezvous,
        "_has_hooks": lambda g: g._has_hooks(),
        "_enable_collectives_timing": lambda g: g._enable_collectives_timing(),
        "_wait_for_pending_works": lambda g: g._wait_for_pending_works(),
        "_register_on_completion_hook": lambda g: g._register_on_completion_hook(print),
        "_get_sequence_number_for_group": lambda g: g._get_sequence_number_for_group() >= 0,
        "set_timeout": lambda g: (g.set_timeout(MINUTE), g._get_backend(CPU).options._timeout.total_seconds()),
        "set_timeout of c10d": lambda g: (
            dist.distributed_c10d._set_pg_timeout(timedelta(minutes=2), g),
            g._get_backend(CPU).options._timeout.total_seconds(),
        ),
        "boxed": lambda g: g.unbox(g.boxed()) is g,
        "isinstance": lambda g: isinstance(g, dist.ProcessGroup),
        "get_backend": lambda g: dist.get_backend(g),
        "get_backend_config": lambda g: dist.get_backend_config(g),
        "get_group_rank": lambda g: dist.get_group_rank(g, 1),
        "get_process_group_ranks": lambda g: dist.get_process_group_ranks(g),
        "resolved": lambda g: c10d._resolve_process_group(g.group_name) is g,
        "default device": lambda g: str(dist.distributed_c10d._get_object_coll_device(g)),
        "hash": lambda g: ({g: 1}[g], g == g, g == other),
    }


def _calls() -> dict[str, Callable]:
    """Methods as pybind's overloads allow them, and what gloo refuses."""
    n = dist.get_world_size()

    def one() -> torch.Tensor:
        return torch.full((2,), float(dist.get_rank() + 1))

    def into(call: Callable, *made: torch.Tensor | list) -> list:
        work = call(*made)
        return [work.wait(), *made]

    def many() -> list[torch.Tensor]:
        return [torch.empty(2) for _ in range(n)]

    def at_root(value: object) -> object:
        return value if dist.get_rank() == 0 else []

    short, total = timedelta(seconds=30), dist.ReduceOp.MAX
    return {
        "allreduce tensor": lambda g: into(lambda t: g.allreduce(t), one()),
        "allreduce tensors": lambda g: into(lambda t: g.allreduce([t]), one()),
        "allreduce op": lambda g: into(lambda t: g.allreduce(t, op=total), one()),
        "allreduce op placed": lambda g: into(lambda t: g.allreduce([t], total, short), one()),
        "allreduce opts": lambda g: into(lambda t: g.allreduce(tensors=[t], opts=c10d.AllreduceOptions()), one()),
        "allreduce_coalesced": lambda g: into(lambda t: g.allreduce_coalesced([t]), one()),
        "broadcast": lambda g: into(lambda t: g.broadcast(t, root=0), one()),
        "broadcast placed": lambda g: into(lambda t: g.broadcast(t, 1, short), one()),
        "broadcast tensors": lambda g: into(lambda t: g.broadcast([t]), one()),
        "reduce": lambda g: into(lambda t: g.reduce(t, root=0, op=total), one())[0],
        "reduce tensors": lambda g: into(lambda t: g.reduce([t]), one())[0],
        "allgather": lambda g: into(lambda o, t: g.allgather(o, t), many(), one()),
        "allgather lists": lambda g: into(lambda o, t: g.allgather([o], [t]), many(), one()),
        "allgather_coalesced": lambda g: into(lambda o, t: g.allgather_coalesced([[a] for a in o], [t]), many(), one()),
        "_allgather_base": lambda g: into(lambda o, t: g._allgather_base(o, t), torch.empty(2 * n), one()),
        "all_gather_single": lambda g: into(
            lambda o, t: g.all_gather_single(output=o, input=t), torch.empty(2 * n), one()
        ),
        "all_gather_single_coalesced": lambda g: into(
            lambda o, t: g.all_gather_single_coalesced([o], [t]), torch.empty(2 * n), one()
        ),
        "allgather_into_tensor_coalesced": lambda g: into(
            lambda o, t: g.allgather_into_tensor_coalesced(outputs=[o], inputs=[t]), torch.empty(2 * n), one()
        ),
        "gather": lambda g: into(lambda o, t: g.gather(at_root(o), t, root=0), many(), one())[0],
        "gather lists": lambda g: into(lambda o, t: g.gather(at_root([o]), [t]), many(), one())[0],
        "scatter": lambda g: into(lambda o, t: g.scatter(o, at_root(t), root=0), torch.empty(2), [one()] * n),
        "scatter lists": lambda g: into(
            lambda o, t: g.scatter([o], at_root([t])), torch.empty(2), [one() for _ in range(n)]
        ),
        "reduce_scatter": lambda g: into(lambda o, t: g.reduce_scatter(o, t, op=total), torch.empty(2), [one()] * n),
        "reduce_scatter lists": lambda g: into(lambda o, t: g.reduce_scatter([o], [t]), torch.empty(2), [one()] * n),
        "_reduce_scatter_base": lambda g: into(
            lambda o, t: g._reduce_scatter_base(outputTensor=o, inputTensor=t), torch.empty(2), torch.ones(2 * n)
        ),
        "reduce_scatter_single": lambda g: into(
            lambda o, t: g.reduce_scatter_single(o, t), torch.empty(2), torch.ones(2 * n)
        ),
        "reduce_scatter_single_coalesced": lambda g: into(
            lambda o, t: g.reduce_scatter_single_coalesced([o], [t]), torch.empty(2), torch.ones(2 * n)
        ),
        "reduce_scatter_tensor_coalesced": lambda g: into(
            lambda o, t: g.reduce_scatter_tensor_coalesced([o], [t]), torch.empty(2), torch.ones(2 * n)
        ),
        "alltoall": lambda g: into(lambda o, t: g.alltoall(o, t), many(), [one() for _ in range(n)]),
        "alltoall_base": lambda g: into(lambda o, t: g.alltoall_base(o, t, [], []), torch.empty(n), torch.ones(n)),
        "alltoall_base in time": lambda g: into(
            lambda o, t: g.alltoall_base(o, t, [], [], short), torch.empty(n), torch.ones(n)
        ),
        "all_to_all_single": lambda g: into(
            lambda o, t: g.all_to_all_single(o, t, output_split_sizes=[1] * n, input_split_sizes=[1] * n),
            torch.empty(n),
            torch.ones(n),
        ),
        "barrier": lambda g: g.barrier().wait(),
        "barrier in time": lambda g: g.barrier(timeout=short).wait(),
        "barrier opts": lambda g: g.barrier(opts=c10d.BarrierOptions()).wait(),
        "monitored_barrier": lambda g: g.monitored_barrier(),
        "messages": lambda g: _messages(g),
        "no arguments": lambda g: g.allreduce(),
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
        "an op of c10d's": lambda g: _own_op(g, one()),
        "kept by C++": lambda g: _kept_by_cpp(g, one()),
        "all_gather_into_tensor_out": lambda g: _functional(
            g, "all_gather_into_tensor_out", one(), n, out=torch.empty(2 * n)
        ),
        "reduce_scatter_tensor_out": lambda g: _functional(
            g, "reduce_scatter_tensor_out", torch.ones(2 * n), "sum", n, out=torch.empty(2)
        ),
    }


def _own_op(group: dist.ProcessGroup, given: torch.Tensor) -> object:
    """As traced programs call it: with the group in its box."""
    whole = torch.empty(given.numel() * group.size())
    _, work = torch.ops.c10d._allgather_base_(whole, given, group.boxed(), True, -1)
    return [c10d.Work.unbox(work).wait(), given, whole]


def _kept_by_cpp(group: dist.ProcessGroup, given: torch.Tensor) -> torch.Tensor:
    """Python lets go of the work, and C++ waits for it."""
    c10d._register_work(given, group.allreduce([given]))
    gc.collect()
    return torch.ops._c10d_functional.wait_tensor(given)


def _functional(group: dist.ProcessGroup, name: str, *args: object, **kwargs: object) -> torch.Tensor:
    ops = torch.ops._c10d_functional
    return ops.wait_tensor(getattr(ops, name)(*args, group.group_name, **kwargs))


def _messages(group: dist.ProcessGroup) -> object:
    rank, got = group.rank(), torch.zeros(2)
    if rank == 0:
        return [group.send(tensors=[torch.ones(2)], dstRank=1, tag=3).wait(), group.send([torch.ones(2)], 1, 4).wait()]
    if rank == 1:
        first = group.recv(tensors=[got], srcRank=0, tag=3)
        done = first.wait()
        second = group.recv_anysource([got], 4)
        return [done, second.wait(), second._source_rank(), got]
    return None


def _works() -> dict[str, Callable]:
    n = dist.get_world_size()
    return {
        "allreduce": lambda g: dist.all_reduce(torch.ones(2), async_op=True),
        "allreduce_coalesced": lambda g: g.allreduce_coalesced([torch.ones(2)]),
        "broadcast": lambda g: dist.broadcast(torch.ones(2), 0, async_op=True),
        "allgather": lambda g: dist.all_gather(list(torch.empty(n, 2)), torch.ones(2), async_op=True),
        "_allgather_base": lambda g: dist.all_gather_single(torch.empty(2 * n), torch.ones(2), async_op=True),
        "reduce": lambda g: dist.reduce(torch.ones(2), 0, async_op=True),
        "reduce_scatter": lambda g: dist.reduce_scatter_single(torch.empty(2), torch.ones(2 * n), async_op=True),
        "alltoall_base": lambda g: dist.all_to_all_single(torch.empty(n), torch.ones(n), async_op=True),
        "barrier": lambda g: dist.barrier(async_op=True),
        "message": lambda g: _message(),
    }


def _message() -> c10d.Work:
    rank = dist.get_rank()
    return (dist.isend if rank == 0 else dist.irecv)(torch.ones(2), 1 - rank)


def _of_a_work(start: Callable, group: dist.ProcessGroup) -> dict[str, object]:
    work = start(group)
    asked = {
        "wait": lambda w: w.wait(),
        "is_completed": lambda w: w.is_completed(),
        "is_success": lambda w: w.is_success(),
        "exception": lambda w: w.exception(),
        "result": lambda w: [list(t.shape) for t in w.result()],
        "synchronize": lambda w: w.synchronize(),
        "source_rank": lambda w: w.source_rank(),
        "_source_rank": lambda w: w._source_rank(),
        "_get_op_type": lambda w: w._get_op_type(),
        "_get_duration": lambda w: w._get_duration(),
        "get_future": lambda w: w.get_future().wait(),
        "get_future_result": lambda w: w.get_future_result().done(),
        "boxed": lambda w: isinstance(c10d.Work.unbox(w.boxed()), dist.Work),
        "isinstance": lambda w: isinstance(w, dist.Work),
    }
    return {question: _said(ask, work) for question, ask in asked.items()}


def _logged() -> dict[str, object]:
    """What DDP says about itself, without times and what names the machine's state."""
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
    data = model._get_ddp_logging_data()
    return {name: value for name, value in data.items() if not any(part in name for part in _ELSEWHERE)}
