"""Ranks: the time to start them, their memory, and the latency of an empty call.

Memory counts shared pages once. Pages of torch's files are shared with every other program that has the same torch
loaded, so the figures are too low while one runs, for the lab and for ipyparallel.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator

import psutil

from lab_utils.bench.figures import RATIO, Sample, at_most, figure
from lab_utils.bench.timed import READY, seconds_until_ready

WARM_UP = 20  # calls of each
CALLS = 100
IMPORT_TORCH = f"import torch; {READY}"
LAB = f"""
import sys
from lab_utils import start_ranks
with start_ranks(int(sys.argv[1])):
    {READY}
    sys.stdin.read()
"""
STOCK = f"""
import sys
from lab_utils.ranks.processes.stock_ipyparallel import stock_cluster
with stock_cluster(int(sys.argv[1])):
    {READY}
    sys.stdin.read()
"""


@figure(
    "start-stock", "a fresh Python until ipyparallel's Cluster(n=4) has torch on all engines and a gloo group", "s",
    reference="import torch", program=STOCK, ranks=4,
)  # fmt: skip
@figure(
    "start", "a fresh Python until start_ranks(4) returned: torch on all ranks, group formed", "s",
    reference="import torch", target=at_most(3, RATIO), program=LAB, ranks=4,
)  # fmt: skip
def start(program: str, ranks: int) -> Iterator[Sample]:
    reference_s = seconds_until_ready(IMPORT_TORCH)
    yield Sample(seconds_until_ready(program, str(ranks)), reference_s)


def train_one_step() -> None:
    """One data-parallel step of AdamW on a small MLP. Stands alone: stock engines get it as text."""
    import torch
    import torch.distributed as dist

    model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256))
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randn(32, 256)  # [batch, features]
    (model(x) - x).square().mean().backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
    optimizer.step()


@figure(
    "memory-8", "memory of everything that start_ranks(8) started, after one AdamW step (PSS)", "MB",
    reference="plain ipyparallel", target=at_most(850), ranks=8,
)  # fmt: skip
@figure(
    "memory-4", "memory of everything that start_ranks(4) started, after one AdamW step (PSS)", "MB",
    reference="plain ipyparallel", target=at_most(650), ranks=4,
)  # fmt: skip
def memory(ranks: int) -> Iterator[Sample]:
    yield Sample(lab_megabytes(ranks), stock_megabytes(ranks))


def lab_megabytes(size: int) -> float:
    """Memory of the ranks, the process that they are forked from, controller and reaper."""
    from lab_utils.ranks import start_ranks

    own = psutil.Process()
    before = set(own.children(recursive=True))
    with start_ranks(size) as ranks:
        ranks.run(train_one_step)
        return megabytes(set(own.children(recursive=True)) - before)


def stock_megabytes(engines: int) -> float:
    from lab_utils.ranks.processes.stock_ipyparallel import stock_cluster

    with stock_cluster(engines) as (view, processes):
        view.execute(inspect.getsource(train_one_step) + f"\n{train_one_step.__name__}()")
        return megabytes(processes)


def megabytes(processes: Iterable[psutil.Process]) -> float:
    """Sum of the processes' PSS, in MB of 10**6 bytes; of RSS where PSS is not available."""
    from lab_utils.ranks.status import memory_bytes

    return sum(memory_bytes(process.pid) for process in processes) / 1e6


def nothing() -> None:
    """Do nothing."""


@figure(
    "run", "milliseconds of ranks.run(an empty function) on 4 ranks", "ms",
    reference="apply_sync of stock ipyparallel", target=at_most(1, RATIO), ranks=4,
)  # fmt: skip
def run(ranks: int) -> Iterator[Sample]:
    """Measure calls in pairs with ipyparallel's, on a cluster with its defaults; the order alternates."""
    from lab_utils.ranks import start_ranks
    from lab_utils.ranks.processes.stock_ipyparallel import stock_cluster

    with start_ranks(ranks) as started, stock_cluster(ranks) as (view, _):
        ours, theirs = (lambda: _milliseconds(started.run, nothing)), (lambda: _milliseconds(view.apply_sync, nothing))
        for turn in range(WARM_UP + CALLS):
            if turn % 2:
                sample = Sample(ours(), theirs())
            else:
                stock_ms = theirs()
                sample = Sample(ours(), stock_ms)
            if turn >= WARM_UP:
                yield sample


def _milliseconds(call: Callable, *arguments: object) -> float:
    began_s = time.perf_counter()
    call(*arguments)
    return 1e3 * (time.perf_counter() - began_s)
