"""Build a schedule op by op: check whether a rank may run an op next. Orders built this way cannot deadlock."""

from __future__ import annotations

import numpy as np

from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import BW, KINDS, B, F, Step, W, told

SAME = {F: (F,), B: (B, BW), W: (W, BW), BW: (BW, B, W)}  # of which one may run, and once: BW is both B and W


def why_not_next(placed: Draft, rank: int, step: Step, limit: float | None = None) -> str:
    """Return why `rank` may not run `step` next, in one sentence; "" when it may.

    placed   a possibly incomplete draft, with its final stages and micro-batches: Draft.of_steps(name, orders, p, m)
    limit    micro-batches of a full stage that the rank may hold
    """
    kind, stage, microbatch = step
    if not (0 <= rank < placed.ranks and 0 <= stage < placed.stages and 0 <= microbatch < placed.microbatches):
        sizes = f"{placed.ranks} ranks, {placed.stages} stages and {placed.microbatches} micro-batches"
        return f"{told(step)} on rank {rank}: there are {sizes}, counted from 0"
    return (
        _again(placed, step)
        or _elsewhere(placed, rank, step)
        or too_early(placed, step)
        or _too_many(placed, rank, step, limit)
    )


def _at(placed: Draft, step: Step) -> bool:
    kind, stage, microbatch = step
    return bool(((placed.kind == kind) & (placed.stage == stage) & (placed.microbatch == microbatch)).any())


def _again(placed: Draft, step: Step) -> str:
    """Check that the op has not run yet."""
    kind, stage, microbatch = step
    for other in SAME[kind]:
        if _at(placed, (other, stage, microbatch)):
            return f"{told((other, stage, microbatch))} has been run" + (
                "" if other == kind else f", so {told(step)} has"
            )
    return ""


def _elsewhere(placed: Draft, rank: int, step: Step) -> str:
    _, stage, microbatch = step
    owner = int(placed.rank_of[stage, microbatch])
    if owner not in (-1, rank):
        return f"micro-batch {microbatch} of stage {stage} is on rank {owner}: its activations are on one rank"
    holders = placed.ranks_of_stage[stage]
    if rank not in holders and len(holders) >= placed.copies:
        where = " and ".join(map(str, holders))
        return f"stage {stage} is on rank{'s' if len(holders) > 1 else ''} {where}, and not on rank {rank}"
    return ""


def needed(step: Step, stages: int) -> list[list[Step]]:
    """Return what `step` needs: of each list, one op must have run before it."""
    kind, stage, microbatch = step
    behind = [((B, BW), stage + 1)] if stage < stages - 1 else []
    backward = [((F,), stage), *behind]
    needs = {F: [((F,), stage - 1)] if stage else [], W: [((B,), stage)]}.get(kind, backward)
    return [[(each, where, microbatch) for each in kinds] for kinds, where in needs]


def awaited(placed: Draft, step: Step) -> list[Step]:
    """Return the ops of which one must have run before `step`, and none has; [] if all that it needs has run."""
    return next((ops for ops in needed(step, placed.stages) if not any(_at(placed, op) for op in ops)), [])


def too_early(placed: Draft, step: Step) -> str:
    """Return which op the step needs that has not run, in a sentence; "" if all have."""
    if not (missing := awaited(placed, step)):
        return ""
    name = " or ".join(f"{KINDS[kind]}{microbatch}" for kind, _, microbatch in missing)
    return f"{told(step)} needs {name} of stage {missing[0][1]}, which no rank has run yet"


def _too_many(placed: Draft, rank: int, step: Step, limit: float | None) -> str:
    if limit is None or step[0] != F:
        return ""
    mine = placed.kind[placed.first[rank] : placed.first[rank + 1]]
    held = int(np.sum(mine == F) - np.sum((mine == W) | (mine == BW))) + 1
    share = held * placed.ranks / placed.stages
    if share <= limit + 1e-9:
        return ""
    more = f"{told(step)} would make {share:g} micro-batches whose activations rank {rank} holds"
    return f"{more}, and {limit:g} is the limit"
