"""Validation of schedules: the first error, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import BETWEEN_RANKS, BW, KINDS, B, F, Unreadable, W

Limit = float | Sequence[float] | None


def why_not(
    orders: Draft | Sequence[str | Sequence[str]],
    stages: int | None = None,
    microbatches: int | None = None,
    limit: Limit = None,
    copies: int = 1,
) -> str:
    """Return the first error of a draft or of orders as text, in one sentence; "" when every rank runs to its end.

    Arguments as for `Schedule.of`; `limit`: micro-batches of a full stage that a rank may hold, for all or per rank.
    """
    if isinstance(orders, Draft):
        return complaint(orders, limit)
    try:
        return complaint(Draft.of("order", orders, stages, microbatches, copies), limit)
    except Unreadable as wrong:
        return str(wrong)


def complaint(draft: Draft, limit: Limit = None) -> str:
    """Return the first error; "" when every rank runs to its end and holds no more than `limit`."""
    for rule in (_sizes, _numbers, _all_ops, _ranks_of_a_stage, _order, _circle):
        if said := rule(draft):
            return said
    return "" if limit is None else _limit(draft, limit)


def _sizes(s: Draft) -> str:
    if s.stages < 1 or s.microbatches < 1 or s.ranks < 1:
        return f"{s.ranks} ranks, {s.stages} stages and {s.microbatches} micro-batches: at least one of each is needed"
    if s.copies < 1:
        return f"{s.copies} copies of each stage: at least one is needed"
    if not len(s.kind) == len(s.stage) == len(s.microbatch) == s.first[-1]:
        lengths = f"{len(s.kind)}, {len(s.stage)} and {len(s.microbatch)}"
        return f"kind, stage and microbatch have {lengths} entries, and first counts {s.first[-1]} ops"
    for rank in np.flatnonzero(np.diff(s.first) <= 0)[:1]:
        return f"rank {rank} runs nothing: give it ops, or leave it out"
    return ""


def _numbers(s: Draft) -> str:
    for name, most in (("kind", len(KINDS)), ("stage", s.stages), ("microbatch", s.microbatches)):
        values = getattr(s, name)
        if values.min() < 0 or values.max() >= most:
            wrong = values.min() if values.min() < 0 else values.max()
            return f"{name} {wrong} is not one of {most}, which are counted from 0"
    least = 2 * s.stages * s.microbatches  # a forward and a backward each
    if least > 8 * len(s):  # the other rules' tables would be far larger than the schedule
        return f"{s.microbatches} micro-batches on {s.stages} stages take at least {least} ops, and there are {len(s)}"
    return ""


def _all_ops(s: Draft) -> str:
    """Check that each micro-batch has on each stage one F, and either one BW or one B and one W."""
    shape = len(KINDS), s.stages, s.microbatches
    which = (s.kind.astype(np.int64) * s.stages + s.stage) * s.microbatches + s.microbatch
    f, b, w, bw = np.bincount(which, minlength=np.prod(shape)).reshape(shape)
    for name, found in (("F", f), ("B or BW", b + bw), ("W or BW", w + bw)):
        for stage, microbatch in np.argwhere(found != 1)[:1].tolist():
            if times := found[stage, microbatch]:
                return f"stage {stage} runs {name} of micro-batch {microbatch} {times} times, and once is needed"
            missing = f"stage {stage} does not run {name} of micro-batch {microbatch}, and once is needed"
            return missing + _needed_by(s, name[0], stage, microbatch)
    return ""


def _needed_by(s: Draft, kind: str, stage: int, microbatch: int) -> str:
    """Name an op that cannot run without the missing one; for a weight gradient, explain what B means."""
    if kind == "W":
        return ": B is the gradient of the input alone, BW that of the weights too"
    forward_first = [((F,), stage + 1), ((B, BW), stage)]
    for kinds, where in forward_first if kind == "F" else [((B, BW), stage - 1), ((W,), stage)]:
        waiting = (s.stage == where) & (s.microbatch == microbatch) & np.isin(s.kind, kinds)
        for at in np.flatnonzero(waiting)[:1]:
            return f": {s.told(at)} on rank {s.rank[at]} waits for it"
    return ""


def _ranks_of_a_stage(s: Draft) -> str:
    """Check that at most `copies` ranks hold a stage, and that each micro-batch stays on one of them."""
    for stage, ranks in enumerate(s.ranks_of_stage):
        if len(ranks) <= s.copies:
            continue
        several = f"{', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
        rule = "a stage's layers are on one rank" if s.copies == 1 else f"a stage has {s.copies} copies at most"
        return f"stage {stage} runs on ranks {several}: {rule}"
    for at in np.flatnonzero(s.rank_of[s.stage, s.microbatch] != s.rank)[:1]:
        owner = s.rank_of[s.stage[at], s.microbatch[at]]
        return (
            f"{s.told(at)} is on rank {s.rank[at]}, and another op of that micro-batch and stage on rank {owner}: "
            "its activations are on one rank"
        )
    return ""


def _order(s: Draft) -> str:
    """Check that no op precedes, on its rank, one that it needs: also its own forward, needed through other ranks."""
    for stage, microbatch in np.argwhere(s.forward_at > s.backward_at)[:1]:  # they are on one rank
        return _early(s, s.backward_at[stage, microbatch], s.forward_at[stage, microbatch])
    (at,) = np.nonzero(s.needs >= 0)
    source = s.needs[at]
    for wrong in at[(s.rank[source] == s.rank[at]) & (source > at)][:1]:
        return _early(s, wrong, s.needs[wrong])
    return ""


def _early(s: Draft, at: int, needed: int) -> str:
    return f"rank {s.rank[at]} runs {s.told(at)} before {s.told(needed)}, which it needs"


def _circle(s: Draft) -> str:
    """Check for deadlock by running the schedule; linear in the number of ops."""
    from lab_utils.timeline.simulator.program import Circle, place

    try:
        place(s.program, np.zeros(len(KINDS) * s.stages), np.zeros(BETWEEN_RANKS + 1))
    except Circle as circle:
        waits = {int(s.rank[at]): int(at) for at in circle.blocked}
    else:
        return ""
    seen: list[int] = []
    rank = min(waits)
    while rank not in seen:  # a blocked rank's missing op comes after another rank's blocked op
        seen.append(rank)
        rank = int(s.rank[s.needs[waits[rank]]])
    links = [(rank, waits[rank], s.needs[waits[rank]]) for rank in seen[seen.index(rank) :]]
    told = "; ".join(
        f"rank {rank} stands at {s.told(at)} until rank {s.rank[needed]} has run {s.told(needed)}"
        for rank, at, needed in links
    )
    return f"ranks wait for each other in a circle: {told}"


def limits_of(limit: Limit, ranks: int) -> np.ndarray:
    """Return float64[ranks]. ValueError unless there is one limit for all, or one each."""
    given = np.asarray(limit, np.float64)
    if given.ndim and given.shape != (ranks,):
        raise ValueError(f"{given.size} limits of activations, and there are {ranks} ranks: one for all, or one each")
    return np.broadcast_to(given, ranks)


def _limit(s: Draft, limit: Limit) -> str:
    held, most = s.held * s.ranks / s.stages, limits_of(limit, s.ranks)
    for at in np.flatnonzero(held > most[s.rank] + 1e-9)[:1]:
        rank = s.rank[at]
        place = f"op {at - s.first[rank] + 1} of {s.first[rank + 1] - s.first[rank]}"
        return (
            f"rank {rank} holds the activations of {held[at]:g} micro-batches at {s.told(at)} ({place}), "
            f"and {most[rank]:g} is the limit"
        )
    return ""
