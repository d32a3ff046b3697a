"""Overhead of the recorded process group against plain gloo, alternating on the same ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from lab_utils.bench import timed
from lab_utils.bench.figures import RATIO, Sample, at_most, figure

RANKS = 2  # the cores of the smallest machine: more would measure the scheduler
WARM_UP = 3
LAB, RECORDED, GLOO = "lab", "lab, recorded", "gloo"  # implementations
LARGE = {"elements": 16_000_000, "ops": 1, "pairs": 20, "per_s": 1e3}  # 64 MB of float32
TINY = {"elements": 1, "ops": 100, "pairs": 40, "per_s": 1e6}


def all_reduce_in_turns(elements: int, ops: int, pairs: int, through: str) -> list[tuple[float, float]]:
    """On a rank: seconds per op through `through` and through a plain gloo group, in pairs.

    Each runs `ops` consecutive all-reduces of `elements` float32; the order alternates. Recording is off while plain
    gloo runs: the kernel counter would see its ops, and take longer than gloo itself.
    """
    import time

    import torch
    import torch.distributed as dist

    from lab_utils.comm import recording

    plain = dist.new_group(backend="cpu:gloo")  # "gloo" alone creates a group of the lab's
    tried = dist.new_group(backend="cpu:gloo") if through == GLOO else dist.group.WORLD
    tensor = torch.zeros(elements)  # stays 0 when summed

    def seconds(group: dist.ProcessGroup) -> float:
        with recording() if through == RECORDED and group is tried else nullcontext():
            dist.barrier(plain)
            began_s = time.perf_counter()
            for _ in range(ops):
                dist.all_reduce(tensor, group=group)
            return (time.perf_counter() - began_s) / ops

    taken = []
    for turn in range(WARM_UP + pairs):
        groups = (tried, plain) if turn % 2 == 0 else (plain, tried)
        seconds_of = {group: seconds(group) for group in groups}
        taken.append((seconds_of[tried], seconds_of[plain]))
    return taken[WARM_UP:]


@figure(
    "record-noise", f"an all-reduce of one float on {RANKS} ranks, plain gloo twice: what cannot be told apart", "µs",
    reference="plain gloo", through=GLOO, **TINY,
)  # fmt: skip
@figure(
    "record-tiny-off", f"an all-reduce of one float on {RANKS} ranks, the lab's group, not recorded", "µs",
    reference="plain gloo", target=at_most(2, RATIO), through=LAB, **TINY,
)  # fmt: skip
@figure(
    "record-tiny", f"an all-reduce of one float on {RANKS} ranks, recorded", "µs",
    reference="plain gloo", target=at_most(2, RATIO), through=RECORDED, **TINY,
)  # fmt: skip
@figure(
    "record-64MB-off", f"an all-reduce of 64 MB on {RANKS} ranks, the lab's group, not recorded", "ms",
    reference="plain gloo", target=at_most(1.03, RATIO), through=LAB, **LARGE,
)  # fmt: skip
@figure(
    "record-64MB", f"an all-reduce of 64 MB on {RANKS} ranks, recorded", "ms",
    reference="plain gloo", target=at_most(1.03, RATIO), through=RECORDED, **LARGE,
)  # fmt: skip
def record(elements: int, ops: int, pairs: int, per_s: float, through: str) -> Iterator[Sample]:
    from lab_utils.ranks import start_ranks

    with start_ranks(RANKS) as ranks:
        by_rank = ranks.run(all_reduce_in_turns, elements, ops, pairs, through)
    yield from timed.slowest(by_rank, per_s)
