"""What test_recorder.py runs on the ranks. Lines that an op must be traced to carry a mark: `# <name>`."""

from __future__ import annotations

import contextlib
import threading

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.comm import phase, recording
from lab_utils.comm.recorder.recorder import recorder

BIG = 1 << 18


def busy(milliseconds: float) -> None:
    """Compute for about so long, in one thread, with no op."""
    import time

    end_s = time.perf_counter() + milliseconds / 1e3
    x = torch.ones(64, 64)
    while time.perf_counter() < end_s:
        x = (x @ x).clamp(max=1.0)


def waits_and_computes() -> None:
    busy(2)
    first = dist.all_reduce(torch.ones(BIG), async_op=True)
    second = dist.all_reduce(torch.ones(BIG), async_op=True)
    busy(2)
    second.wait()
    first.wait()
    busy(2)
    dist.all_reduce(torch.ones(4))


def busy_until_in(op: str, rank: int, milliseconds: float) -> None:
    """Compute until the board shows that rank in that op, and so much longer."""
    row = recorder.row
    while (row.state, row.op) != ("in", op):
        busy(0.1)
        row = recorder._board.read(rank)
    busy(milliseconds)


def late_rank() -> None:
    if dist.get_rank() == 1:
        busy_until_in("all_reduce", 0, 40)
    dist.all_reduce(torch.ones(4))


def late_message() -> None:
    if dist.get_rank() == 0:
        busy_until_in("recv", 1, 40)
        dist.send(torch.ones(4), 1)
    else:
        dist.recv(torch.ones(4), 0)


def finished_before_it_is_waited_for() -> None:
    work = dist.all_reduce(torch.ones(4), async_op=True)
    while not work.is_completed():
        busy(0.1)
    busy(20)
    work.wait()


def nested_phases() -> None:
    with phase("step"):
        dist.all_reduce(torch.ones(4))
        with phase("forward"):
            dist.barrier()
            busy(1)
        dist.broadcast(torch.ones(4), src=0)
    dist.barrier()


def sources() -> None:
    x = torch.ones(4)
    dist.all_reduce(x)  # plain
    work = dist.broadcast(x, src=0, async_op=True)  # issued
    work.wait()  # waited
    through_a_helper(x)
    gathered = [None, None]
    dist.all_gather_object(gathered, "object")  # object
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 4))  # wrapped
    loss = model(x).sum()
    loss.backward()  # backward


def through_a_helper(x: torch.Tensor) -> None:
    torch.distributed.barrier()  # helper


def train_ddp(steps: int, width: int) -> None:
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(width, width), nn.Linear(width, width)))
    for _ in range(steps):
        model(torch.ones(1, width)).sum().backward()


def ddp_waits() -> None:
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 4))
    model(torch.ones(4)).sum().backward()
    loss = model(torch.ones(4)).sum()
    if dist.get_rank() == 1:
        busy_until_in("all_reduce", 0, 40)
    loss.backward()


def recorded_by_hand() -> list:
    """What is recorded is what lies inside; a second recording, or an exception, does not disturb it."""
    x = torch.ones(4)
    dist.all_reduce(x)
    with recording() as first:
        dist.barrier()
    dist.all_reduce(x)
    refused = ""
    try:
        with recording() as second:
            dist.broadcast(x, src=0)
            try:
                with recording():
                    dist.barrier()
            except RuntimeError as error:
                refused = str(error)
            raise KeyError("stop")
    except KeyError:
        dist.all_reduce(x)
    with recording() as third:
        dist.reduce(x, 0)
    return [names(first), names(second), names(third), refused]


def names(recorded) -> list[str]:
    return [op.name for op in recorded.ops if op.kind != "compute"]


def waits(recorded) -> list[tuple]:
    return [(op.kind, op.of) for op in recorded.ops if op.kind != "compute"]


def issued_before_waited_inside() -> list:
    work = dist.all_reduce(torch.ones(BIG), async_op=True)
    with recording() as recorded:
        work.wait()
    return waits(recorded)


def many(ops: int) -> None:
    x = torch.ones(4)
    for _ in range(ops):
        dist.all_reduce(x)


def two_threads(ops: int) -> float:
    """A thread of the user's own issues collectives on a group of its own beside the main thread."""
    group = dist.new_group()
    total, beside = torch.ones(1), torch.ones(1)

    def work() -> None:
        for _ in range(ops):
            dist.all_reduce(beside, op=dist.ReduceOp.MAX, group=group)  # thread

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(ops):
        dist.all_reduce(total, op=dist.ReduceOp.MAX)
    thread.join()
    return total.item() + beside.item()


def from_a_thread_without_own_lines() -> None:
    """As autograd does on a GPU: a thread of a library's, while the main thread is in the call that it serves."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(dist.barrier).result()  # served


def callbacks_under_a_busy_interpreter(ops: int) -> float:
    """Futures end on gloo's threads, which need the interpreter that this thread keeps busy; all must end."""
    import time

    x = torch.ones(16)
    works = [dist.all_reduce(x, op=dist.ReduceOp.MAX, async_op=True) for _ in range(ops)]
    begin_s, spins = time.perf_counter(), 0
    while not all(work.is_completed() for work in works):
        spins += 1
    for work in works:
        work.wait()
    return time.perf_counter() - begin_s


def rows() -> list:
    """What the board shows while the rank computes, and after an op that was refused."""
    dist.all_reduce(torch.ones(4))
    between = recorder.row.state
    try:
        dist.all_reduce(torch.ones(4, dtype=torch.int16))
    except RuntimeError:
        return [between, recorder.row.state, recorder.row.op, recorder.row.shape]
    return [between]


def _messages_counted() -> int:
    return sum(count for (stream, _), count in recorder.ledger.issued().items() if stream.kind == "message")


def refused_and_received() -> float:
    """Rank 1's message is refused; then rank 0 receives another one before that is sent."""
    if dist.get_rank() == 1:
        with contextlib.suppress(RuntimeError):
            dist.isend(torch.ones(2, 4).T, 0)
    dist.barrier()
    received = torch.zeros(3)
    work = dist.irecv(received, 1) if dist.get_rank() == 0 else None
    dist.barrier()
    if work is None:
        dist.send(torch.ones(3), 0)
    else:
        work.wait()
    return received.sum().item()


def refused_and_sent() -> tuple[list[str], float, int]:
    """A message that gloo refuses, before two that it carries: what was said, what came, how many are counted."""
    other, wrong, received = 1 - dist.get_rank(), torch.ones(2, 4).T, torch.zeros(2, 4)
    refusals, before = [], _messages_counted()
    for operation in (dist.isend, dist.irecv):
        try:
            operation(wrong, other)
        except RuntimeError as error:
            refusals.append(str(error))
    for number in (1.0, 2.0):
        if dist.get_rank() == 0:
            dist.send(torch.full((2, 4), number), 1)
        else:
            dist.recv(received, 0)
    return refusals, received.mean().item(), _messages_counted() - before
