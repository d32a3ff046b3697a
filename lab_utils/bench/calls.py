"""How long a call on all ranks takes when there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from lab_utils.bench.figures import Sample, at_most, figure

WARM_UP = 20
CALLS = 100


def nothing() -> None:
    """The empty function."""


@figure(
    "run", "milliseconds of ranks.run(an empty function) on 4 ranks", "ms",
    reference="ipyparallel's apply_sync", target=at_most(10), ranks=4,
)  # fmt: skip
def run(ranks: int) -> Iterator[Sample]:
    """Each call next to one of ipyparallel's own on the same engines."""
    from lab_utils.ranks import start_ranks

    with start_ranks(ranks) as started:
        view = started.client[:]
        for _ in range(WARM_UP):
            started.run(nothing)
            view.apply_sync(nothing)
        for _ in range(CALLS):
            yield Sample(_milliseconds(started.run, nothing), _milliseconds(view.apply_sync, nothing))


def _milliseconds(call: Callable, *arguments: object) -> float:
    began_s = time.perf_counter()
    call(*arguments)
    return 1e3 * (time.perf_counter() - began_s)
