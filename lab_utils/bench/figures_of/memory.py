"""Memory of ranks, with shared pages counted once.

Pages of torch's files are shared with every other program that has the same torch loaded, so the figures are too low
while one runs, for the lab and for ipyparallel.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

import psutil

from lab_utils.bench.figures import Sample, at_most, figure


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
    from lab_utils.ranks.processes.stock import stock_cluster

    with stock_cluster(engines) as (view, processes):
        view.execute(inspect.getsource(train_one_step) + f"\n{train_one_step.__name__}()")
        return megabytes(processes)


def megabytes(processes: Iterable[psutil.Process]) -> float:
    """Sum of the processes' PSS, in MB of 10**6 bytes; of RSS where PSS is not available."""
    from lab_utils.ranks.status import memory_bytes

    return sum(memory_bytes(process.pid) for process in processes) / 1e6
