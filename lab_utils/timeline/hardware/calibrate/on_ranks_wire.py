"""Communication benchmarks of `this_machine`: ops on the wire, timed on every rank.

This package does not import torch; the functions below take it from sys.modules, as a rank has it loaded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

# What `this_machine` measures on the wire.
OPS = ("all_reduce", "all_gather", "reduce_scatter")
SIZES_BYTES = tuple(2**power for power in range(12, 25, 2))  # 4 kB to 16 MB
OVERLAPPED_BYTES, OVERLAPPED_CHANNELS = 2**22, 256
BETWEEN_CHANNELS, BETWEEN_PRODUCTS = 512, 2  # about 6 ms, and 3 MB of other data in the caches


def wire_seconds(names: Sequence[str], sizes_bytes: Sequence[int], rounds: int) -> list[list[float]]:
    """[round][name × size]: seconds of each op on this rank; sizes are those of whole tensors.

    The ranks compute before each op, as in a training step: right after another op, an op takes half as long.
    """
    torch = sys.modules["torch"]
    between = _computing_between(torch)
    calls = [_op(torch, name, size) for name in names for size in sizes_bytes]
    taken = [[_after(between, lambda c=call: c().wait()) for call in calls] for _ in range(rounds + 1)]
    return taken[1:]  # the first round connects


def _computing_between(torch: Any) -> Callable[[], None]:
    """Compute as between the ops of a training step, which evicts the communication threads' data from the caches."""
    a = torch.ones(BETWEEN_CHANNELS, BETWEEN_CHANNELS)

    def between() -> None:
        torch.distributed.barrier()
        for _ in range(BETWEEN_PRODUCTS):
            torch.mm(a, a)

    return between


def issue_seconds(rounds: int) -> list[float]:
    """Seconds to issue an asynchronous all-reduce of one float."""
    torch = sys.modules["torch"]
    tensor, taken = torch.zeros(1), []
    for _ in range(rounds):
        torch.distributed.barrier()
        began_s = time.perf_counter()
        work = torch.distributed.all_reduce(tensor, async_op=True)
        taken.append(time.perf_counter() - began_s)
        work.wait()
    return taken


def overlap_seconds(size_bytes: int, channels: int, rounds: int) -> list[tuple[float, float, float]]:
    """Seconds of an all-reduce alone, of matrix products that take about as long, and of both overlapped."""
    torch = sys.modules["torch"]
    dist, tensor, a = torch.distributed, torch.zeros(size_bytes // 4), torch.ones(channels, channels)
    products = _as_long_as(torch, lambda: dist.all_reduce(tensor), lambda: torch.mm(a, a))

    def both() -> None:
        work = dist.all_reduce(tensor, async_op=True)
        products()
        work.wait()

    calls = (lambda: dist.all_reduce(tensor), products, both)
    return [tuple(_after_a_barrier(torch, call) for call in calls) for _ in range(rounds)]


def _as_long_as(torch: Any, op: Callable[[], object], product: Callable[[], object]) -> Callable[[], None]:
    """Return a call of as many products as take as long as the op; the same number on all ranks."""
    op(), product()
    op_s = min(_after_a_barrier(torch, op) for _ in range(3))
    product_s = min(_after_a_barrier(torch, product) for _ in range(3))
    often = torch.tensor([max(1, round(op_s / product_s))])
    torch.distributed.broadcast(often, 0)

    def products() -> None:
        for _ in range(int(often)):
            product()

    return products


def _after_a_barrier(torch: Any, call: Callable[[], object]) -> float:
    return _after(torch.distributed.barrier, call)


def _after(before: Callable[[], object], call: Callable[[], object]) -> float:
    before()
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def _op(torch: Any, name: str, size_bytes: int) -> Callable[[], object]:
    """Return a call that issues the op on float32; size_bytes is that of the tensor reduced, scattered or gathered.

    Outputs go into new memory, as in FSDP2; an all-reduce is in place, as for DDP's gradients.
    """
    dist, whole = torch.distributed, torch.zeros(size_bytes // 4)
    part = torch.zeros(len(whole) // dist.get_world_size())
    return {
        "all_reduce": lambda: dist.all_reduce(whole, async_op=True),
        "all_gather": lambda: dist.all_gather_single(torch.empty_like(whole), part, async_op=True),
        "reduce_scatter": lambda: dist.reduce_scatter_single(torch.empty_like(part), whole, async_op=True),
    }[name]
