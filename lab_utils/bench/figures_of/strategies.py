"""Steps of the lab's data-parallel strategies against PyTorch's, alternating on the same ranks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lab_utils.bench import timed
from lab_utils.bench.figures import RATIO, Sample, at_most, figure

RANKS = 2
TURNS = 12
VOCABULARY, BLOCK = 1024, 64
LAB, TORCH = "lab", "torch"


class Size(NamedTuple):
    """Layers and channels of a GPT, and sequences per rank."""

    layers: int
    channels: int
    batch: int


SIZES = {"0.3M": Size(2, 96, 8), "1M": Size(4, 128, 8), "5M": Size(4, 320, 4), "11M": Size(6, 384, 4)}
PAIRS = {"buckets": "DDP", "zero1": "ZeroRedundancyOptimizer", "zero3": "FSDP2"}


# ---------------------------------------------------------------------- on a rank
def in_turns(pair: str, size: Size, count: int = TURNS) -> list[tuple[float, float]]:
    """Seconds of a step by the lab and by PyTorch, in pairs; the order alternates."""
    return timed.in_turns(*(program(pair, whose, size) for whose in (LAB, TORCH)), count)


def peak_bytes(pair: str, whose: str, size: Size) -> int:
    """Peak growth of this process's memory from before the model is built to after three steps."""
    return peak_growth(lambda of_size: program(pair, whose, of_size), size)


def peak_growth(make: Callable[[Size], Callable[[], Any]], size: Size) -> int:
    """Peak growth of this process's memory from before `make(size)` builds a step to after three of them."""
    make(Size(1, 16, 1))()  # warm-up: triggers lazy imports
    before = resident_bytes("VmRSS")
    step = make(size)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # reset the peak (Linux, proc(5))
    for _ in range(3):
        step()
    return resident_bytes("VmHWM") - before


def resident_bytes(line: str) -> int:
    """Resident memory of this process: VmRSS is the current value, VmHWM the peak."""
    found = re.search(rf"^{line}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    return 1024 * int(found[1])


def program(pair: str, whose: str, size: Size) -> Callable[[], Any]:
    """Return a training step, the same for both except for what is attached to model and optimizer."""
    import torch

    from lab_utils.gpt import GPT, GPTConfig
    from lab_utils.strategies import serial

    torch.manual_seed(0)
    model = GPT(GPTConfig(VOCABULARY, BLOCK, size.layers, size.channels, heads=4))
    model, optimizer = (_lab if whose == LAB else _torch)(pair, model)
    x = torch.randint(VOCABULARY, (size.batch, BLOCK))
    return lambda: serial.step(model, optimizer, x, x)


def _adam(parameters: Any) -> Any:
    import torch

    return torch.optim.AdamW(parameters, lr=1e-3, fused=True)


def _lab(pair: str, model: Any) -> tuple[Any, Any]:
    from lab_utils.strategies.data.buckets.overlapped import Buckets
    from lab_utils.strategies.data.zero.zero1_and_zero2 import ShardedOptimizer
    from lab_utils.strategies.data.zero.zero3 import ShardedParameters

    optimizer = _adam(model.parameters())
    if pair == "buckets":
        Buckets(model)
    elif pair == "zero1":
        ShardedOptimizer(model, optimizer)
    else:
        ShardedParameters(model, optimizer, model.blocks)
    return model, optimizer


def _torch(pair: str, model: Any) -> tuple[Any, Any]:
    import torch
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.nn.parallel import DistributedDataParallel

    if pair == "zero3":
        for block in model.blocks:
            fully_shard(block)
        fully_shard(model)
        return model, _adam(model.parameters())
    model = DistributedDataParallel(model, gradient_as_bucket_view=True)
    if pair == "buckets":
        return model, _adam(model.parameters())
    kind = {"lr": 1e-3, "fused": True, "parameters_as_bucket_view": True}
    return model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, **kind)


# ---------------------------------------------------------------------- here
def step(pair: str, size: Size) -> Iterator[Sample]:
    from lab_utils.ranks import start_ranks

    with start_ranks(RANKS) as ranks:
        by_rank = ranks.run(in_turns, pair, size)
    yield from timed.slowest(by_rank)


def peak(pair: str, size: Size) -> Iterator[Sample]:
    """Measure each on fresh ranks: a process does not return all of its freed memory."""
    from lab_utils.ranks import start_ranks

    found = []
    for whose in (LAB, TORCH):
        with start_ranks(RANKS) as ranks:
            found.append(max(ranks.run(peak_bytes, pair, whose, size)) / 1e6)
    yield Sample(*found)


for _pair, _reference in PAIRS.items():
    figure(
        f"data-{_pair}-memory", f"memory of {RANKS} ranks' steps at its highest, {_pair}, 11M parameters, each", "MB",
        reference=_reference, target=at_most(1.0, RATIO), pair=_pair, size=SIZES["11M"],
    )(peak)  # fmt: skip
    for _name, _size in reversed(SIZES.items()):
        _most = 1.05 if _pair == "buckets" and _size.channels < 300 else 1.0
        figure(
            f"data-{_pair}-{_name}", f"a step of {_pair} on {RANKS} ranks, a GPT of {_name} parameters", "ms",
            reference=_reference, target=at_most(_most, RATIO), rounds=1, pair=_pair, size=_size,
        )(step)  # fmt: skip
