"""Examine the reader's shuffling: in an epoch each block is read once, by one rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab_utils.exercises.ch01_data import on_ranks_steps
from lab_utils.exercises.framework.exercise import Finding
from lab_utils.exercises.framework.on_ranks import BLOCKS
from lab_utils.ranks import Ranks

EPOCHS = 2  # two, to see whether the order changes
NAMED = 4  # maximum of blocks named in a sentence


def examine_order(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_order(blocks, epoch)`, called on every rank for two epochs, twice."""
    results = ranks.run(on_ranks_steps.ordered, function, BLOCKS, EPOCHS)
    for rank, result in enumerate(results):
        if name := result["strange"]:
            return Finding((f"{name} came back on rank {rank}: return the numbers of this rank's blocks, in order",))
    first, again = ([result["asked"][time] for result in results] for time in (0, 1))  # [rank][epoch]
    for epoch in range(EPOCHS):
        if complaint := _read_wrongly([orders[epoch] for orders in first], epoch):
            return Finding(complaint)
    unsteady = [rank for rank in range(ranks.size) if first[rank] != again[rank]]
    if unsteady:
        why = "a run that is stopped could not go on in its order"
        return Finding((f"rank {unsteady[0]} was asked twice for the same epoch and gave two orders: {why}",))
    if all(orders[0] == orders[1] for orders in first):
        return Finding(("epoch 1 has the order of epoch 0, on every rank: each batch comes again as it was",))
    return None


def _read_wrongly(orders: Sequence[list[int]], epoch: int) -> tuple[str, ...] | None:
    """Describe what is wrong with the ranks' orders of one epoch, the most specific first."""
    for rank, order in enumerate(orders):
        if foreign := [number for number in order if not 0 <= number < BLOCKS]:
            return (f"rank {rank} reads block {foreign[0]} in epoch {epoch}, and there are 0 to {BLOCKS - 1}",)
    if len(orders) > 1 and all(len(set(order)) == BLOCKS for order in orders):
        return (f"every rank reads all {BLOCKS} blocks in epoch {epoch}: nothing is shared out",)
    readers = {block: [rank for rank, order in enumerate(orders) if block in order] for block in range(BLOCKS)}
    unread = [block for block, ranks in readers.items() if not ranks]
    several = {block: ranks for block, ranks in readers.items() if len(ranks) > 1}
    if unread or several:
        return tuple(_told(unread, several, epoch))
    for rank, order in enumerate(orders):
        if twice := [block for block in order if order.count(block) > 1]:
            return (f"rank {rank} reads block {twice[0]} {order.count(twice[0])} times in epoch {epoch}",)
    sizes = [len(order) for order in orders]
    uneven = f"the ranks have {_listed(sizes)} blocks in epoch {epoch}: who has fewer is done first, and others wait"
    return (uneven,) if len(set(sizes)) > 1 else None


def _told(unread: Sequence[int], several: dict[int, list[int]], epoch: int) -> list[str]:
    lines = [f"in epoch {epoch} {len(unread)} of {BLOCKS} blocks are read by nobody, {len(several)} by several ranks"]
    if several:
        named = [f"block {block} by ranks {_listed(ranks)}" for block, ranks in list(several.items())[:NAMED]]
        lines.append(f"read by several: {'; '.join(named)}{' …' if len(several) > NAMED else ''}")
    if unread:
        lines.append(f"read by nobody: blocks {_listed(unread[:NAMED])}{' …' if len(unread) > NAMED else ''}")
    return lines


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
