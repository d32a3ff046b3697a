"""Judge which blocks the ranks read: a batch, and an epoch, are shared out among them."""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.corpus import Batches
from lab_utils.exercises.ch01_data import words
from lab_utils.exercises.framework.on_ranks import BATCH, BLOCKS, OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

on_ranks = OnRanks("lab_utils.exercises.ch01_data.on_ranks_blocks")
STEPS = EPOCHS = 2  # two, to see whether the order changes
NAMED = 4  # maximum of blocks named in a sentence


def judge_shard(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_shard(blocks, step)`: the shards must partition the batch."""
    say = words.Shard
    results = ranks.run(on_ranks.sharded, function, STEPS)
    for rank, each in enumerate(results):
        if each["strange"]:
            return [say.strange.format(type=each["strange"], rank=rank)]
    for step in range(STEPS):
        batch = Batches(BLOCKS, BATCH)[step].tolist()
        if wrong := _wrong_shards([each["numbers"][step] for each in results], batch, step):
            if not all(each["numbers"][0] for each in results):
                return [wrong]
            trained = ranks.run(on_ranks.trained_on_shard, function)
            compared = parity(trained[0]["serial"], [each["step"] for each in trained])
            return [wrong, say.step.format(verdict=compared.verdict)]
    return []


def _wrong_shards(shards: Sequence[list[int]], batch: list[int], step: int) -> str:
    """Describe what is wrong with the ranks' shards of one step, the most specific first; "" if nothing."""
    say, n = words.Shard, len(shards)
    for rank, numbers in enumerate(shards):
        if not numbers or -1 in numbers:
            return (say.no_block if numbers else say.nothing).format(rank=rank, step=step)
    read = [number for numbers in shards for number in numbers]
    missing = len(set(batch) - set(read))
    unread = say.unread.format(missing=missing, blocks=len(batch))
    if n > 1 and all(set(numbers) == set(batch) for numbers in shards):
        return say.whole.format(n=n, step=step)
    if n > 1 and all(set(numbers) == set(shards[0]) for numbers in shards):
        return say.same.format(n=n, numbers=_listed(shards[0]), step=step, unread=unread)
    if several := [number for number in read if read.count(number) > 1]:
        who = [rank for rank, numbers in enumerate(shards) if several[0] in numbers]
        times = {"block": several[0], "times": read.count(several[0]), "ranks": _listed(who)}
        return say.several.format(step=step, unread=unread, **times)
    if foreign := sorted(set(read) - set(batch)):
        template = say.foreign_unread if missing else say.foreign
        return template.format(step=step, block=foreign[0], unread=unread)
    if missing:
        return say.missing.format(unread=unread, step=step)
    sizes = [len(numbers) for numbers in shards]
    return say.uneven.format(sizes=_listed(sizes), step=step) if len(set(sizes)) > 1 else ""


def judge_order(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_order(blocks, epoch)`, called on every rank for two epochs, twice."""
    say = words.Order
    results = ranks.run(on_ranks.ordered, function, BLOCKS, EPOCHS)
    for rank, each in enumerate(results):
        if each["strange"]:
            return [say.strange.format(type=each["strange"], rank=rank)]
    first, again = ([each["asked"][time] for each in results] for time in (0, 1))  # [rank][epoch]
    for epoch in range(EPOCHS):
        if wrong := _wrong_orders([orders[epoch] for orders in first], epoch):
            return wrong
    for rank in range(ranks.size):
        if first[rank] != again[rank]:
            return [say.unsteady.format(rank=rank)]
    return [say.same] if all(orders[0] == orders[1] for orders in first) else []


def _wrong_orders(orders: Sequence[list[int]], epoch: int) -> list[str]:
    """Describe what is wrong with the ranks' orders of one epoch, the most specific first."""
    say = words.Order
    for rank, order in enumerate(orders):
        if foreign := [number for number in order if not 0 <= number < BLOCKS]:
            return [say.foreign.format(rank=rank, block=foreign[0], epoch=epoch, last=BLOCKS - 1)]
    if len(orders) > 1 and all(len(set(order)) == BLOCKS for order in orders):
        return [say.whole.format(blocks=BLOCKS, epoch=epoch)]
    readers = {block: [rank for rank, order in enumerate(orders) if block in order] for block in range(BLOCKS)}
    unread = [block for block, ranks in readers.items() if not ranks]
    several = [say.by_ranks.format(block=at, ranks=_listed(who)) for at, who in readers.items() if len(who) > 1]
    if unread or several:
        counts = {"unread": len(unread), "several": len(several), "blocks": BLOCKS}
        named = (say.several, "; ", several), (say.unread, ", ", [*map(str, unread)])
        return [say.counts.format(epoch=epoch, **counts), *(_named(*each) for each in named if each[2])]
    for rank, order in enumerate(orders):
        if twice := [block for block in order if order.count(block) > 1]:
            return [say.twice.format(rank=rank, block=twice[0], times=order.count(twice[0]), epoch=epoch)]
    sizes = [len(order) for order in orders]
    return [say.uneven.format(sizes=_listed(sizes), epoch=epoch)] if len(set(sizes)) > 1 else []


def _named(template: str, between: str, blocks: Sequence[str]) -> str:
    more = words.Order.more if len(blocks) > NAMED else ""
    return template.format(named=between.join(blocks[:NAMED]), more=more)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
