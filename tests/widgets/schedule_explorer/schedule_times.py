"""When each op of an order runs, worked out from its words alone: for tests, without the lab's simulator."""

from __future__ import annotations

import re

KINDS = ("F", "B", "W", "BW")
Op = tuple[int, int, int, int]  # rank, kind, stage, micro-batch


def times_of(
    orders: tuple[str, ...], stages: int, forward: float, backward_input: float, backward_weight: float, comm: float
) -> dict[Op, tuple[float, float]]:
    """(start, end) of every op; each starts when its rank is free and what it needs has come."""
    cost = {"F": forward, "B": backward_input, "W": backward_weight, "BW": backward_input + backward_weight}
    queues = [[_read(word, rank) for word in order.split()] for rank, order in enumerate(orders)]
    ended: dict[tuple, tuple[float, int]] = {}  # what has been computed: when, and on which rank
    free, times = [0.0] * len(orders), {}
    while any(queues):
        moved = False
        for rank, queue in enumerate(queues):
            while queue and all(need in ended for need in _needs(*queue[0], stages)):
                kind, stage, number = queue.pop(0)
                came = [
                    at + comm * (where != rank) for at, where in (ended[n] for n in _needs(kind, stage, number, stages))
                ]
                start = max([free[rank], *came])
                free[rank] = start + cost[kind]
                times[rank, KINDS.index(kind), stage, number] = (start, free[rank])
                ended[kind[0], stage, number] = (free[rank], rank)
                moved = True
        assert moved, "ranks wait for each other"
    return times


def _read(word: str, rank: int) -> tuple[str, int, int]:
    stage, kind, number = re.fullmatch(r"(\d*)(BW|F|B|W)(\d+)", word).groups()
    return kind, int(stage or rank), int(number)


def _needs(kind: str, stage: int, number: int, stages: int) -> list[tuple[str, int, int]]:
    if kind == "F":
        return [("F", stage - 1, number)] if stage else []
    if kind == "W":
        return [("B", stage, number)]
    return [("F", stage, number), *([("B", stage + 1, number)] if stage < stages - 1 else [])]
