"""Every plain collective and message as a small program, for test_recorded_group.py."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.distributed.distributed_c10d import _coalescing_manager

CPU = torch.device("cpu")


def mine(*shape: int) -> torch.Tensor:
    """Other numbers on every rank."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(dist.get_rank()))


def plain_collectives() -> list:
    n, rank = dist.get_world_size(), dist.get_rank()
    summed, highest, sent, reduced = mine(3, 2), mine(5), mine(4), mine(2)
    dist.all_reduce(summed)
    dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    dist.broadcast(sent, src=1)
    dist.reduce(reduced, dst=2)
    lists = [torch.empty(3) for _ in range(n)]
    dist.all_gather(lists, mine(3))
    gathered = [torch.empty(2) for _ in range(n)] if rank == 1 else None
    dist.gather(mine(2), gathered, dst=1)
    scattered = torch.empty(2)
    dist.scatter(scattered, list(mine(n, 2)) if rank == 3 else None, src=3)
    part = torch.empty(2)
    dist.reduce_scatter(part, list(mine(n, 2)))
    dist.barrier()
    return [summed, highest, sent, reduced if rank == 2 else 0, lists, gathered, scattered, part]


def single_tensor_collectives() -> list:
    n, rank = dist.get_world_size(), dist.get_rank()
    whole, part, swapped = torch.empty(n * 3), torch.empty(2), torch.empty(n)
    dist.all_gather_into_tensor(whole, mine(3))
    dist.reduce_scatter_tensor(part, mine(n * 2))
    dist.all_to_all_single(swapped, mine(n))
    to_each = [(rank + other) % 3 for other in range(n)]  # symmetric: what a gives to b, b gives to a
    uneven = torch.empty(sum(to_each))
    dist.all_to_all_single(uneven, mine(sum(to_each)), to_each, to_each)
    lists = [torch.empty(2) for _ in range(n)]
    dist.all_to_all(lists, list(mine(n, 2)))
    return [whole, part, swapped, uneven, lists]


def asynchronous() -> list:
    x, y, z = mine(64), mine(7), torch.empty(7 * dist.get_world_size())
    works = [dist.all_reduce(x, async_op=True), dist.broadcast(y, src=0, async_op=True)]
    z_work = dist.all_gather_into_tensor(z, mine(7), async_op=True)
    for work in reversed(works):
        work.wait()
    future = z_work.get_future().then(lambda done: done.value()[0].sum())
    z_work.wait()
    return [x, y, z, future.wait()]


def messages() -> list:
    """Tags out of order, a ring of batched sends and receives, and a receive from anybody."""
    n, rank = dist.get_world_size(), dist.get_rank()
    first, second, from_left, anybody = torch.empty(2), torch.empty(3), torch.empty(4), torch.zeros(1)
    if rank == 0:
        works = [dist.isend(mine(2), 1, tag=5), dist.isend(mine(3), 1, tag=6)]
        for work in works:
            work.wait()
    elif rank == 1:
        dist.recv(second, 0, tag=6)
        dist.recv(first, 0, tag=5)
    batch = [dist.P2POp(dist.isend, mine(4), (rank + 1) % n), dist.P2POp(dist.irecv, from_left, (rank - 1) % n)]
    for work in dist.batch_isend_irecv(batch):
        work.wait()
    sources = []
    if rank == 0:
        for _ in range(2 * (n - 1)):
            one = torch.zeros(1)
            sources.append(dist.recv(one))
            anybody += one
    else:
        for _ in range(2):
            dist.send(torch.full((1,), float(rank)), 0)
    return [first if rank == 1 else 0, second if rank == 1 else 0, from_left, anybody, sorted(sources)]


def objects() -> list:
    n, rank = dist.get_world_size(), dist.get_rank()
    everybody, at_two = [None] * n, [None] * n if rank == 2 else None
    dist.all_gather_object(everybody, {"rank": rank, "data": "x" * rank})
    shared = ["from one", {1: 2}] if rank == 1 else [None, None]
    dist.broadcast_object_list(shared, src=1)
    dist.gather_object(rank * 1.5, at_two, dst=2)
    given = [None]
    dist.scatter_object_list(given, [f"for {other}" for other in range(n)] if rank == 0 else None, src=0)
    if rank == 0:
        dist.send_object_list(["hello"], dst=1)
    said = [None]
    if rank == 1:
        dist.recv_object_list(said, src=0)
    return [everybody, shared, at_two, given, said]


def groups() -> list:
    """Groups that hold only some ranks, one made of pairs, and the same members twice."""
    rank, n = dist.get_rank(), dist.get_world_size()
    odd, again = dist.new_group([1, 3]), dist.new_group([1, 3])
    pair, _ = dist.new_subgroups(n // 2)
    x, y, z, w = mine(3), mine(3), mine(2), torch.empty(2)
    if rank in (1, 3):
        dist.all_reduce(x, group=odd)
        dist.broadcast(y, src=3, group=again)
        exchange = [dist.isend(mine(2), 4 - rank, group=odd), dist.irecv(w, 4 - rank, group=odd)]
        for work in exchange:
            work.wait()
    dist.all_reduce(z, group=pair)
    dist.barrier(group=pair)
    dist.destroy_process_group(pair)
    return [x, y, z, w if rank in (1, 3) else 0]


@contextmanager
def old_names() -> Iterator[None]:
    """torch 2.13 has new names for these; programs out there have the old ones, so both must work."""
    with warnings.catch_warnings():
        old = r"`?torch\.distributed\.(nn\.functional|_functional_collectives)\.\w+`? is deprecated"
        warnings.filterwarnings("ignore", old, FutureWarning)
        yield


def functional_collectives() -> list:
    n, world = dist.get_world_size(), dist.group.WORLD
    x = mine(4, 4)
    with old_names():
        lazy = functional.all_reduce(x, "sum", world)
        whole = functional.all_gather_tensor(x, 0, world)
        part = functional.reduce_scatter_tensor(x, "sum", 0, world)
        swapped = functional.all_to_all_single(x, [1] * n, [1] * n, world)
        spread = functional.broadcast(x, 2, world)
        several = functional.all_reduce_coalesced([x, x + 1], "sum", world)
        gathered = functional.all_gather_into_tensor_coalesced([x, x + 1], world)
        scattered = functional.reduce_scatter_tensor_coalesced([x, x + 1], "sum", [0, 0], world)
    return [functional.wait_tensor(t) for t in (lazy, whole, part, swapped, spread, *several, *gathered, *scattered)]


def functional_autograd() -> list:
    n, world = dist.get_world_size(), dist.group.WORLD
    x = mine(4, 4).requires_grad_()
    with old_names():
        whole = functional.all_gather_tensor_autograd(x, 0, world)
        part = functional.reduce_scatter_tensor_autograd(whole * mine(1), "sum", 0, world)
        swapped = functional.all_to_all_single_autograd(part, [1] * n, [1] * n, world)
    swapped.square().sum().backward()
    return [swapped.detach(), x.grad]


def nn_functional() -> list:
    """The older collectives with gradients."""
    from torch.distributed import nn

    x = mine(3).requires_grad_()
    with old_names():
        total = nn.functional.all_reduce(x * 2) + sum(nn.functional.all_gather(x))
    total.sum().backward()
    return [total.detach(), x.grad]


# ---------------------------------------------------------------- the coalescing manager, which gloo itself has not
def _tensors() -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    n = dist.get_world_size()
    return [mine(3), mine(2) + 1], [torch.empty(3 * n), torch.empty(2 * n)], [torch.empty(1), torch.empty(2)]


def one_by_one() -> list:
    n = dist.get_world_size()
    (a, b), gathered, parts = _tensors()
    for output, given in zip(gathered, (a, b), strict=True):
        dist.all_gather_into_tensor(output, given)
    for output in parts:
        dist.reduce_scatter_tensor(output, mine(n * len(output)))
    for tensor in (a, b):
        dist.all_reduce(tensor)
    return [a, b, gathered, parts]


def coalesced(device: str | None, async_ops: bool) -> list:
    n = dist.get_world_size()
    (a, b), gathered, parts = _tensors()

    def together(call) -> None:
        with _coalescing_manager(device=device and torch.device(device), async_ops=async_ops) as manager:
            call()
        if async_ops:
            manager.wait()

    together(lambda: [dist.all_gather_into_tensor(o, t) for o, t in zip(gathered, (a, b), strict=True)])
    together(lambda: [dist.reduce_scatter_tensor(o, mine(n * len(o))) for o in parts])
    together(lambda: [dist.all_reduce(t) for t in (a, b)])
    return [a, b, gathered, parts]


def coalesced_messages() -> list:
    n, rank = dist.get_world_size(), dist.get_rank()
    got = torch.empty(4)
    with _coalescing_manager(device=CPU, async_ops=True) as manager:
        dist.isend(mine(4), (rank + 1) % n)
        dist.irecv(got, (rank - 1) % n)
    manager.wait()
    return [got]


def raising_inside_manager() -> None:
    with _coalescing_manager():
        dist.all_reduce(mine(2))
        raise KeyError("inside the manager")


def caught_around_manager(device: str | None) -> list:
    """An exception that the program catches itself, what the next all_reduce does then, and after the mend."""
    from lab_utils.comm.process_group.forming_groups import forget_coalescing

    try:
        with _coalescing_manager(device=device and torch.device(device)):
            dist.all_reduce(mine(2))
            dist.broadcast(mine(2), src=0)
            raise KeyError("inside the manager")
    except KeyError:
        queued = total()
    return [queued, forget_coalescing(), total(), forget_coalescing()]


def total() -> float:
    one = torch.ones(1)
    dist.all_reduce(one)
    return one.item()
