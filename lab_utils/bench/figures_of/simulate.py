"""Time to build a pipeline schedule or search for one, to place a program in time, and to export the timeline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lab_utils.bench.figures import RATIO, Sample, at_most, figure
from lab_utils.schedule import Costs, Schedule, schedules, simulate
from lab_utils.schedule.search.search import search
from lab_utils.timeline.simulator.program import Program, place

TIMES = 5
COSTS = Costs(forward=1.0, backward_input=1.0, backward_weight=1.0, comm=0.1)
MIDDLE = {"stages": 64, "microbatches": 512}
LARGE = {"stages": 512, "microbatches": 4096}

# torch builds a list of actions per rank: forwards, backwards, and one reduction at the end.
TORCH = """
import json, sys, time
from torch.distributed.pipelining._schedule_visualizer import get_schedule_ops
stages, microbatches = map(int, sys.argv[1:])
began_s = time.perf_counter()
ops = get_schedule_ops("1F1B", stages, microbatches)
took_s = time.perf_counter() - began_s
count = sum(op is not None for rank in ops for op in rank)
assert count == 2 * stages * microbatches + stages, count
print(json.dumps(1e3 * took_s))
"""


@figure(
    "simulate-4M", "milliseconds to place 4,194,304 ops: 1F1B of 512 stages and 4,096 micro-batches", "ms",
    reference="plain Python", target=at_most(120), rounds=1, **LARGE,
)  # fmt: skip
@figure(
    "simulate-65k", "milliseconds to place 65,536 ops: 1F1B of 64 stages and 512 micro-batches", "ms",
    reference="plain Python", target=at_most(2), **MIDDLE,
)  # fmt: skip
def placed(stages: int, microbatches: int) -> Iterator[Sample]:
    schedule = schedules.one_f_one_b(stages, microbatches)
    orders = as_lists(schedule)
    simulate(schedule, COSTS)  # warm-up: loads the kernel and builds the program, which is cached
    plain_ms, makespan = _timed(lambda: by_plain_python(orders, 1.0, 2.0, COSTS.comm))
    for _ in range(TIMES):
        took_ms, timeline = _timed(lambda: simulate(schedule, COSTS))
        _check_same(timeline.makespan_s, makespan)
        yield Sample(took_ms, plain_ms)


@figure(
    "order-4M", "milliseconds to order and check these 4,194,304 ops, ready to be placed", "ms",
    reference="torch's order", rounds=1, **LARGE,
)  # fmt: skip
@figure(
    "order-65k", "milliseconds to order and check these 65,536 ops, ready to be placed", "ms",
    reference="torch's order", **MIDDLE,
)  # fmt: skip
def ordered(stages: int, microbatches: int) -> Iterator[Sample]:
    line = [sys.executable, "-c", TORCH, str(stages), str(microbatches)]
    torch_ms = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)
    for _ in range(TIMES):
        took_ms, _ = _timed(lambda: schedules.one_f_one_b(stages, microbatches).program)
        yield Sample(took_ms, torch_ms)


@figure(
    "simulate-hub", "milliseconds to place 300,000 nodes: 100,000 streams wait for one, which serves the last first",
    "ms", reference="the first first", target=at_most(2, RATIO), spokes=100_000,
)  # fmt: skip
def hubs(spokes: int) -> Iterator[Sample]:
    """Check that time is linear in nodes and edges: rescanning all waiting streams each turn would show here."""
    last_first, first_first = (hub(spokes, backwards) for backwards in (True, False))
    place(first_first, np.ones(1))  # loads the kernel
    for _ in range(TIMES):
        took_ms, one = _timed(lambda: place(last_first, np.ones(1)))
        reference_ms, other = _timed(lambda: place(first_first, np.ones(1)))
        _check_same(one.makespan_s, other.makespan_s)
        yield Sample(took_ms, reference_ms)


@figure(
    "export-100k", "milliseconds to write 100,000 spans as trace events and as a table", "ms",
    reference="json.dumps of the events", target=at_most(6, RATIO), rounds=1, stages=16, microbatches=3125,
)  # fmt: skip
def written(stages: int, microbatches: int) -> Iterator[Sample]:
    timeline = simulate(schedules.one_f_one_b(stages, microbatches), COSTS)
    with TemporaryDirectory() as folder:
        events, table = Path(folder, "trace.json"), Path(folder, "spans.csv")
        for _ in range(TIMES):
            took_ms, _ = _timed(lambda: (timeline.to_perfetto(events), timeline.to_csv(table)))
            content = json.loads(events.read_text(encoding="utf-8"))
            yield Sample(took_ms, _timed(lambda content=content: json.dumps(content))[0])


def hub(spokes: int, backwards: bool) -> Program:
    """Stream 0 issues a node to each other stream and waits for it, in turn, in stream order or backwards."""
    order = np.arange(spokes)[::-1] if backwards else np.arange(spokes)
    first = np.concatenate(([0], 2 * spokes + np.arange(spokes + 1)))
    edge_from = np.concatenate((2 * spokes + order, 2 * np.argsort(order)))
    edge_first = np.concatenate((np.arange(2 * spokes) // 2, spokes + np.arange(spokes + 1)))
    classes, lags = np.zeros(3 * spokes, np.int32), np.zeros(2 * spokes, np.uint8)
    return Program(first.astype(np.int64), classes, edge_first.astype(np.int32), edge_from.astype(np.int32), lags)


def as_lists(schedule: Schedule) -> list[list[tuple[bool, int]]]:
    """Per rank, its order as (is it a forward, micro-batch); one stage per rank."""
    pairs = list(zip((schedule.kind == 0).tolist(), schedule.microbatch.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(schedule.first, schedule.first[1:], strict=False)]


def by_plain_python(orders: list[list[tuple[bool, int]]], forward_s: float, backward_s: float, comm_s: float) -> float:
    """Makespan with one stage per rank, computed with dictionaries and a stack of ranks that may be ready."""
    ranks = len(orders)
    ended: list[tuple[dict, dict]] = [({}, {}) for _ in orders]  # backwards, forwards
    now_s, reached, ready = [0.0] * ranks, [0] * ranks, list(range(ranks))
    while ready:
        rank = ready.pop()
        first, order = reached[rank], orders[rank]
        while reached[rank] < len(order):
            is_forward, microbatch = order[reached[rank]]
            source = rank - 1 if is_forward else rank + 1
            arrives_s = 0.0
            if 0 <= source < ranks:
                if microbatch not in ended[source][is_forward]:
                    break
                arrives_s = ended[source][is_forward][microbatch] + comm_s
            now_s[rank] = max(now_s[rank], arrives_s) + (forward_s if is_forward else backward_s)
            ended[rank][is_forward][microbatch] = now_s[rank]
            reached[rank] += 1
        if reached[rank] > first:
            ready += [other for other in (rank - 1, rank + 1) if 0 <= other < ranks]
    return max(now_s)


def _check_same(makespan_s: float, other_s: float) -> None:
    if abs(makespan_s - other_s) > 1e-9 * other_s:
        raise RuntimeError(f"the two makespans differ: {makespan_s} and {other_s}")


def _timed(call: Callable) -> tuple[float, object]:
    began_s = time.perf_counter()
    result = call()
    return 1e3 * (time.perf_counter() - began_s), result


# Profiled ms from Qi et al. 2024, "Zero Bubble Pipeline Parallelism", table 9: 1.5B and 28.3B parameters.
SEARCH_SMALL = {"ranks": 8, "microbatches": 32, "costs": Costs(18.513, 18.086, 9.331, comm=0.626)}
SEARCH_LARGE = {"ranks": 32, "microbatches": 256, "costs": Costs(10.402, 10.248, 7.698, comm=0.460)}


@figure(
    "search-32x256", "seconds of the slowest of four searches: 32 ranks and 256 micro-batches", "s",
    target=at_most(10), rounds=1, **SEARCH_LARGE,
)  # fmt: skip
@figure(
    "search-8x32", "seconds of the slowest of four searches: 8 ranks and 32 micro-batches", "s",
    target=at_most(1), **SEARCH_SMALL,
)  # fmt: skip
def searched(ranks: int, microbatches: int, costs: Costs) -> Iterator[Sample]:
    """Search with 1F1B's memory and twice that in a line; 1F1B's and half in a V, where no bound ends it early."""
    search(2, 2, Costs())  # warm-up: loads the compiled loops
    p, took_s = ranks, []
    for stage_layout, limit in (("line", p), ("line", 2 * p), ("v", p), ("v", (p + 2) // 2)):
        parts = 2 if stage_layout == "v" else 1
        began_s = time.perf_counter()
        found = search(p, microbatches, costs.divided(parts), limit, stage_layout=stage_layout)
        took_s.append(time.perf_counter() - began_s)
        if found.length < found.bound.length * (1 - 1e-9) or found.length > min(found.named.values()):
            raise RuntimeError(f"{found.length} is below the bound {found.bound.length} or above {found.named}")
    yield Sample(max(took_s))
