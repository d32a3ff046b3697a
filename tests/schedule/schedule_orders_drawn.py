"""Orders at random, most of them wrong in some way, as a person might write them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from slow_schedules import KINDS, Step

from lab_utils.schedule import Schedule, schedules

Orders = list[list[Step]]


def drawn(count: int, seed: int) -> Iterator[tuple[Orders, int, int, int]]:
    """Orders, stages, micro-batches, copies: the lab's schedules with up to three changes, most of them mistakes."""
    rng = np.random.default_rng(seed)
    shipped = [(name, make) for name, make in schedules.BY_NAME.items() if name != "dualpipe"]
    known = [words(make(ranks, m)) for _, make in shipped for ranks in (1, 2, 3) for m in (1, 2, 3)]
    known += [words(schedules.dualpipe(2, m)) for m in (1, 2, 3)] * 3
    for _ in range(count):
        orders, *sizes = known[rng.integers(len(known))]
        orders = [list(order) for order in orders]
        for _ in range(rng.integers(0, 4)):
            CHANGES[rng.integers(len(CHANGES))](orders, rng)
        yield orders, *sizes


def words(schedule: Schedule) -> tuple[Orders, int, int, int]:
    columns = (schedule.kind.tolist(), schedule.stage.tolist(), schedule.microbatch.tolist())
    steps = [(KINDS[kind], stage, microbatch) for kind, stage, microbatch in zip(*columns, strict=True)]
    orders = [steps[a:b] for a, b in zip(schedule.first[:-1], schedule.first[1:], strict=True)]
    return orders, schedule.stages, schedule.microbatches, schedule.copies


def _some(orders: Orders, rng: np.random.Generator) -> tuple[list[Step], int]:
    """A rank's order and a place in it."""
    filled = [order for order in orders if order]
    order = filled[rng.integers(len(filled))] if filled else [("F", 0, 0)]
    return order, int(rng.integers(len(order)))


def _swap(orders: Orders, rng: np.random.Generator) -> None:
    order, at = _some(orders, rng)
    order[at - 1 : at + 1] = order[at - 1 : at + 1][::-1]


def _move(orders: Orders, rng: np.random.Generator) -> None:
    order, at = _some(orders, rng)
    order.insert(int(rng.integers(len(order))), order.pop(at))


def _shuffle(orders: Orders, rng: np.random.Generator) -> None:
    order, _ = _some(orders, rng)
    order[:] = [order[at] for at in rng.permutation(len(order))]


def _lose(orders: Orders, rng: np.random.Generator) -> None:
    order, at = _some(orders, rng)
    order.pop(at)


def _double(orders: Orders, rng: np.random.Generator) -> None:
    order, at = _some(orders, rng)
    order.insert(at, order[at])


def _rename(orders: Orders, rng: np.random.Generator) -> None:
    order, at = _some(orders, rng)
    _, stage, microbatch = order[at]
    order[at] = KINDS[rng.integers(len(KINDS))], stage, microbatch


def _elsewhere(orders: Orders, rng: np.random.Generator) -> None:
    order, at = _some(orders, rng)
    orders[rng.integers(len(orders))].append(order.pop(at))


CHANGES = [_swap, _swap, _swap, _swap, _move, _move, _move, _shuffle, _lose, _double, _rename, _elsewhere]
