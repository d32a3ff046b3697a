"""Judge the reader's reduce-scatter: the sums, which rank holds which, the bytes that each rank sent, and to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lab_utils.exercises.ch00_ranks.judge_messages import Call, on_ranks, shown
from lab_utils.exercises.ch00_ranks.words import ReduceScatter as say
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.text import name_ranks
from lab_utils.timeline import Trace, bytes_sent

COLUMNS = 3


def judge_reduce_scatter(ranks: Ranks, function: Function) -> list[str]:
    """Compare each rank's row with the sum; then what was sent, which no collective may have done."""
    trace = ranks.record(on_ranks.scattered, function, COLUMNS)
    if complaints := list(_complaints(trace.results)):
        more = [say.more.format(more=len(complaints) - 1)] if complaints[1:] else []
        return [complaints[0], *more]
    used = sorted({op.name for op in trace if op.kind == "collective"})
    if used:
        return [say.collectives.format(names=", ".join(used))]
    return [*_too_many_bytes(trace), *_not_a_ring(trace)][:1]


def _complaints(calls: Sequence[Call]) -> Iterator[str]:
    """Yield at most one sentence per rank."""
    total = sum(given for given, _, _ in calls)
    for rank, (before, after, got) in enumerate(calls):
        if not isinstance(got, np.ndarray):
            yield say.strange.format(rank=rank, type=type(got).__name__)
        elif got.shape != total[rank].shape:
            sentence = say.whole if got.shape == total.shape else say.shape
            yield sentence.format(rank=rank, shape=list(got.shape), row=list(total[rank].shape))
        elif not np.array_equal(got, total[rank]):
            yield _wrong_row(rank, got, total, calls[0][0])
        elif not np.array_equal(before, after):
            yield say.other_x.format(rank=rank, before=shown(before), after=shown(after))


def _wrong_row(rank: int, got: np.ndarray, total: np.ndarray, unit: np.ndarray) -> str:
    """Say which row it is and whose parts are in it, as far as one can tell; `unit` is rank 0's input."""
    n = len(total)
    for row in sorted(range(n), key=lambda row: row != rank):
        if np.array_equal(got, total[row]):
            return say.other_row.format(rank=rank, found=row)
        times = got / unit[row]
        if (times == times[0]).all() and 0 < times[0] < 10**n and times[0] == int(times[0]):
            counts = [int(times[0]) // 10**r % 10 for r in range(n)]
            return say.parts.format(rank=rank, row=row, how=_how(counts))
    return say.wrong.format(rank=rank, wanted=shown(total[rank]), found=shown(got))


def _how(counts: Sequence[int]) -> str:
    """Describe a sum by how often the part of each rank is in it."""
    lacking = [rank for rank, count in enumerate(counts) if count == 0]
    repeated = [rank for rank, count in enumerate(counts) if count > 1]
    found = ((say.lacks, lacking), (say.adds_twice, repeated))
    return say.also.join(sentence.format(ranks=name_ranks(ranks)) for sentence, ranks in found if ranks)


def _too_many_bytes(trace: Trace) -> Iterator[str]:
    n, whole = trace.world_size, trace.results[0][0].nbytes
    right = whole // n * (n - 1)
    whys = {2 * right: say.all_reduced, (n - 1) * whole: say.whole_each_round}
    for rank, sent in enumerate(bytes_sent(trace)):
        if sent > right:
            yield say.too_many.format(rank=rank, sent=sent, right=right, why=whys.get(sent, ""))


def _not_a_ring(trace: Trace) -> Iterator[str]:
    for op in trace:
        right = (op.rank + 1) % trace.world_size
        if op.kind == "send" and op.peer != right:
            yield say.not_a_ring.format(rank=op.rank, peer=op.peer, right=right)
