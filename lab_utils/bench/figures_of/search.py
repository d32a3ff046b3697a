"""Time of a search for a pipeline schedule, which must be short enough for a slider."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lab_utils.bench.figures import Sample, at_most, figure
from lab_utils.schedule import Costs
from lab_utils.schedule.search.search import search

# Profiled ms from Qi et al. 2024, "Zero Bubble Pipeline Parallelism", table 9: 1.5B and 28.3B parameters.
SMALL = {"ranks": 8, "microbatches": 32, "costs": Costs(18.513, 18.086, 9.331, comm=0.626)}
LARGE = {"ranks": 32, "microbatches": 256, "costs": Costs(10.402, 10.248, 7.698, comm=0.460)}


@figure(
    "search-32x256", "seconds of the slowest of four searches: 32 ranks and 256 micro-batches", "s",
    target=at_most(10), rounds=1, **LARGE,
)  # fmt: skip
@figure(
    "search-8x32", "seconds of the slowest of four searches: 8 ranks and 32 micro-batches", "s",
    target=at_most(1), **SMALL,
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
