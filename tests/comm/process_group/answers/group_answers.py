"""Asks a process group, its works and what PyTorch builds on it everything that has an answer, errors too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from group_calls import calls
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
    said |= {f"call.{asked}": _said(ask, group) for asked, ask in calls().items()}
    for asked, start in _works().items():
        dist.barrier()
        said |= {f"work.{asked}.{question}": answer for question, answer in _of_a_work(start, group).items()}
    dist.barrier()
    group.set_timeout(timeout)
    said |= {f"ddp.{asked}": answer for asked, answer in _logged().items()}
    return said | {"ddp compressed in C++": _said(_compressed)}


def raises_alone() -> None:
    if dist.get_rank() == 0:
        raise ValueError("no more")
    dist.barrier()


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


def _compressed() -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(2, 2))
    model._register_builtin_comm_hook(dist.BuiltinCommHookType.FP16_COMPRESS)
    for _ in range(3):
        model(torch.full((1, 2), dist.get_rank() + 1.0)).sum().backward()
    return [parameter.grad for parameter in model.parameters()]
