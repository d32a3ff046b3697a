"""Programs for 4 ranks that get stuck in one way each, or are interrupted with something in flight."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.comm import report


def agree() -> float:
    """What every rank must be able to do after whatever happened."""
    total = torch.tensor(float(dist.get_rank()))
    dist.all_reduce(total)
    return total.item()


# ------------------------------------------------------------------ stuck for certain
def skip(rank: int) -> None:
    for _ in range(2):
        dist.all_reduce(torch.ones(4))
    if dist.get_rank() != rank:
        dist.all_reduce(torch.ones(4))


def swap(rank: int) -> None:
    if dist.get_rank() == rank:
        dist.barrier()
        dist.all_reduce(torch.ones(4))
    else:
        dist.all_reduce(torch.ones(4))
        dist.barrier()


def mis_shape(rank: int, elements: int) -> None:
    dist.all_reduce(torch.ones(2 * elements if dist.get_rank() == rank else elements))


def mis_type(rank: int) -> None:
    dist.all_reduce(torch.ones(4, dtype=torch.int32 if dist.get_rank() == rank else torch.float32))


def send_too_much() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.ones(8), 1)
    if dist.get_rank() == 1:
        dist.recv(torch.ones(4), 0)


def send_in_vain() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.ones(4), 1)


def drop_a_send() -> None:
    """Ranks 0 and 1: nobody holds the send's work any more when its receive is posted."""
    if dist.get_rank() == 0:
        dist.isend(torch.ones(4), 1)
    dist.all_reduce(torch.ones(4))
    if dist.get_rank() == 1:
        kept = dist.irecv(torch.ones(4), 0)  # noqa: F841
    dist.all_reduce(torch.ones(4))


def receive_in_a_circle() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    dist.recv(torch.ones(4), (rank - 1) % size)
    dist.send(torch.ones(4), (rank + 1) % size)


def groups_in_two_orders() -> None:
    """Ranks 0 and 1 are in both groups, and come to them in different order."""
    first, second = dist.new_group([0, 1, 2]), dist.new_group([0, 1, 3])
    order = (second, first) if dist.get_rank() == 1 else (first, second)
    for group in order:
        if dist.get_rank() in dist.get_process_group_ranks(group):
            dist.all_reduce(torch.ones(4), group=group)


def make_a_group_without(rank: int) -> None:
    if dist.get_rank() != rank:
        dist.new_group([0, 1, 2, 3])


def one_goes_on_computing(rank: int) -> None:
    while dist.get_rank() == rank:
        pass
    dist.all_reduce(torch.ones(4))


def come_late(rank: int, after_s: float) -> float:
    import time

    until_s = time.perf_counter() + after_s
    while dist.get_rank() == rank and time.perf_counter() < until_s:
        pass
    return agree()


# ------------------------------------------------------------------ failures
def fail_on_one() -> None:
    if dist.get_rank() == 3:
        raise ValueError("planted")
    dist.all_reduce(torch.ones(4))


def end_this_rank(rank: int, how: int) -> None:
    if dist.get_rank() == rank:
        os.kill(os.getpid(), how)
    dist.all_reduce(torch.ones(4))


# ------------------------------------------------------------------ in flight
def ddp_for_ever() -> None:
    from torch.nn.parallel import DistributedDataParallel

    _train_for_ever(DistributedDataParallel(_net()))


def leave_ddp(rank: int) -> None:
    """Only in the third step does DDP have no collective of its own left in the forward."""
    from torch.nn.parallel import DistributedDataParallel

    net = DistributedDataParallel(_net())
    for step in range(3):
        if step < 2 or dist.get_rank() != rank:
            net(torch.ones(4, 32)).sum().backward()


def wait_in_ddp_for_ranks_that_save(left: Path) -> None:
    """Rank 0 waits in DDP's backward; the others handle the interrupt until rank 0 has left."""
    from torch.nn.parallel import DistributedDataParallel

    net = DistributedDataParallel(_net())
    for _ in range(2):
        net(torch.ones(4, 32)).sum().backward()
    report(ready=1.0)
    try:
        if dist.get_rank() == 0:
            net(torch.ones(4, 32)).sum().backward()
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        while dist.get_rank() != 0 and not left.exists():
            time.sleep(0.01)
        raise
    finally:
        left.touch()


def fsdp_for_ever() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    net = _net()
    fully_shard(net, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    _train_for_ever(net)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))


def _train_for_ever(net: nn.Module) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    step = 0
    while True:
        net(torch.ones(8, 32)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step == 3:
            report(started=1)


def pipeline_for_ever() -> None:
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    rank, size = dist.get_rank(), dist.get_world_size()
    stage = PipelineStage(nn.Linear(32, 32), rank, size, torch.device("cpu"))
    schedule = Schedule1F1B(stage, n_microbatches=size, loss_fn=nn.functional.mse_loss)
    step = 0
    while True:
        given = (torch.ones(8, 32),) if rank == 0 else ()
        schedule.step(*given, **({"target": torch.ones(8, 32)} if rank == size - 1 else {}))
        step += 1
        if step == 3:
            report(started=1)


def messages_for_ever() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    step = 0
    while True:
        sending = dist.isend(torch.ones(1000), (rank + 1) % size)
        dist.recv(torch.ones(1000), (rank - 1) % size)
        sending.wait()
        step += 1
        if step == 3:
            report(started=1)


def wait_for_one_another() -> None:
    """All inside gloo, and nothing will ever come: only a cut ends it before the group's time-out."""
    report(started=1)
    dist.recv(torch.ones(4), (dist.get_rank() + 1) % dist.get_world_size())


def take_no_notice(rank: int) -> None:
    if dist.get_rank() == rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    report(started=1)
    while True:
        pass
