"""Random valid schedules of several stages a rank, and the times of any schedule's ops in plain Python."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from hypothesis import strategies as st

from lab_utils.schedule import Costs, Schedule

Step = tuple[str, int, int]  # kind, stage, micro-batch
KINDS = ("F", "B", "W", "BW")


def needed(step: Step, stages: int) -> list[Step]:
    """What a step needs besides what its rank ran before: any one of these; nothing when there are none."""
    kind, stage, microbatch = step
    if kind == "F":
        return [("F", stage - 1, microbatch)] if stage else []
    if kind == "W":
        return [("B", stage, microbatch)]
    if stage == stages - 1:
        return [("F", stage, microbatch)]
    return [(behind, stage + 1, microbatch) for behind in ("B", "BW")]


def is_able(step: Step, stages: int, done: Collection[Step]) -> bool:
    wanted = needed(step, stages)
    return not wanted or any(other in done for other in wanted)


def slow_times(schedule: Schedule, costs: Mapping[str, list[float]], comm: float) -> list[tuple[float, float]]:
    """Start and end of each op, rank by rank in their order; costs[kind][stage]."""
    ops = list(schedule.ops)
    queues = [[at for at, op in enumerate(ops) if op.rank == rank] for rank in range(schedule.ranks)]
    done: dict[Step, tuple[int, float]] = {}  # → rank, end
    times: dict[int, tuple[float, float]] = {}
    free_s = [0.0] * schedule.ranks
    while any(queues):
        for rank, queue in enumerate(queues):
            step = step_of(ops[queue[0]]) if queue else None
            if step is None or not is_able(step, schedule.stages, done):
                continue
            ends = [done[other] for other in needed(step, schedule.stages) if other in done]
            arrivals_s = [end_s + (comm if source != rank else 0.0) for source, end_s in ends]
            start_s = max(free_s[rank], *arrivals_s, 0.0)
            free_s[rank] = start_s + costs[step[0]][step[1]]
            done[step] = rank, free_s[rank]
            times[queue.pop(0)] = start_s, free_s[rank]
    return [times[at] for at in range(len(ops))]


def step_of(op) -> Step:
    return op.name.rstrip("0123456789"), op.stage, op.microbatch


def by_kind(costs: Costs, stages: int) -> dict[str, list[float]]:
    """Costs of each kind and stage, from one number for all stages or one each."""
    f, b, w = (
        list(given) if np.ndim(given) else [given] * stages
        for given in (costs.forward, costs.backward_input, costs.backward_weight)
    )
    return {"F": f, "B": b, "W": w, "BW": [x + y for x, y in zip(b, w, strict=True)]}


@st.composite
def schedules_of_any_order(draw: st.DrawFn) -> Schedule:
    """Any stage on any rank, some backwards split; ops in an order that works, each to the end of its rank's list."""
    stages, microbatches = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    owner = draw(st.lists(st.integers(0, 3), min_size=stages, max_size=stages))
    owner = [sorted(set(owner)).index(rank) for rank in owner]
    left: list[Step] = []
    for at in np.ndindex(stages, microbatches):
        left += [(kind, *at) for kind in (("F", "B", "W") if draw(st.booleans()) else ("F", "BW"))]
    done: list[Step] = []
    while left:
        done.append(draw(st.sampled_from([step for step in left if is_able(step, stages, done)])))
        left.remove(done[-1])
    order = sorted(done, key=lambda step: owner[step[1]])  # stable: each rank keeps the order that works
    return schedule_of("drawn", stages, microbatches, [owner[stage] for _, stage, _ in order], order)


def schedule_of(name: str, stages: int, microbatches: int, ranks: list[int], order: list[Step]) -> Schedule:
    first = np.concatenate(([0], np.cumsum(np.bincount(ranks)))).astype(np.int64)
    kind = np.array([KINDS.index(kind) for kind, _, _ in order], np.uint8)
    stage, microbatch = (np.array([step[column] for step in order], np.int32) for column in (1, 2))
    return Schedule(name, stages, microbatches, first, kind, stage, microbatch)


def runs_to_the_end(orders: list[list[Step]], stages: int, microbatches: int, copies: int) -> bool:
    """Whether each rank can run its steps in their order: each op once, none missing, and where it may be."""
    every = [step for order in orders for step in order]
    for at in np.ndindex(stages, microbatches):
        f, b, w, bw = (every.count((kind, *at)) for kind in KINDS)
        if f != 1 or (b, w, bw) not in [(1, 1, 0), (0, 0, 1)]:
            return False
        if len({rank for rank, order in enumerate(orders) for step in order if step[1:] == at}) > 1:
            return False
    ranks_of = [{rank for rank, order in enumerate(orders) for step in order if step[1] == s} for s in range(stages)]
    if not all(orders) or any(len(ranks) > copies for ranks in ranks_of):
        return False
    left, done = [list(order) for order in orders], set()
    while able := [order for order in left if order and is_able(order[0], stages, done)]:
        for order in able:
            done.add(order.pop(0))
    return not any(left)
