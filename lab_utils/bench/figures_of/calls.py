"""Latency of an empty call on all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from lab_utils.bench.figures import RATIO, Sample, at_most, figure

WARM_UP = 20  # calls of each
CALLS = 100


def nothing() -> None:
    """Do nothing."""


@figure(
    "run", "milliseconds of ranks.run(an empty function) on 4 ranks", "ms",
    reference="apply_sync of stock ipyparallel", target=at_most(1, RATIO), ranks=4,
)  # fmt: skip
def run(ranks: int) -> Iterator[Sample]:
    """Measure calls in pairs with ipyparallel's, on a cluster with its defaults; the order alternates."""
    from lab_utils.ranks import start_ranks
    from lab_utils.ranks.processes.stock import stock_cluster

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
