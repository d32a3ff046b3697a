"""Judge orders of ops that the reader wrote: valid, within the memory, and no longer than asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lab_utils.exercises.ch03_pipeline import words
from lab_utils.exercises.framework.exercise import Judged, NotYet
from lab_utils.exercises.framework.readers_function import does_nothing
from lab_utils.schedule import Costs, Draft, schedules, search, why_not
from lab_utils.schedule.ops import Unreadable, read
from lab_utils.timeline.simulator.program import Times, place

Limit = float | tuple[float, ...] | None
Examine = Callable[[Draft], list[str]]
OPEN = ("...", "…")
WHOLE = Costs(forward=1, backward_input=1, backward_weight=1)  # BW takes 2

RANKS, MICROBATCHES = 3, 4  # 03.6 and 03.8
ONE_F_ONE_B = tuple(RANKS - rank for rank in range(RANKS))  # micro-batches held per rank

# 03.7, three ranks, six stages, three micro-batches: each rank's order looks reasonable by itself
CIRCLE = (
    "0F0 0F1 3F0 3F1 0F2 3F2 3BW0 3BW1 3BW2 0BW0 0BW1 0BW2",
    "1F0 1F1 1F2 4F0 4F1 4F2 4BW0 4BW1 4BW2 1BW0 1BW1 1BW2",
    "2F0 5F0 2F1 5F1 2F2 5F2 5BW0 5BW1 5BW2 2BW0 2BW1 2BW2",
)

UNEVEN = Costs(forward=(2, 4, 4), backward_input=(2, 3, 3), backward_weight=(1, 4, 1))  # 03.8
UNEVEN_LIMIT = 3
PAR = 49  # the result of par(), constant here because the simulator takes a second to load
NAMED = ("one_f_one_b", "zb_h1")  # schedules within UNEVEN_LIMIT

SIZES = ((2, 4), (3, 4), (4, 8), (4, 2), (1, 3), (5, 1), (8, 32))  # (ranks, microbatches) of 03.13


@dataclass(frozen=True, slots=True)
class Orders:
    """Judge of orders as text, one per rank: they must be valid; then `examine` judges them."""

    examine: Examine
    ranks: int
    stages: int
    microbatches: int
    limit: Limit = None

    def __call__(self, *answers: object) -> Judged:
        say, orders = words.Orders, _lines(answers)
        if not all(isinstance(order, str) for order in orders):
            return [say.no_text]
        if any(word in OPEN for order in orders for word in order.split()):
            return NotYet()
        if len(orders) != self.ranks:
            return [(say.one_given if len(orders) == 1 else say.given).format(given=len(orders), ranks=self.ranks)]
        return _judged(say, orders, (self.stages, self.microbatches), self.limit, self.examine)


def _judged(say: type, orders: list, sizes: tuple[int, int], limit: Limit, examine: Examine) -> list[str]:
    """Return why the orders cannot be run, or what `examine` says about them; sizes = (stages, micro-batches)."""
    try:
        most = max((microbatch for order in read(orders) for _, _, microbatch in order), default=0)
    except Unreadable as wrong:
        return [str(wrong)]
    if most >= sizes[1]:
        return [say.no_microbatch.format(microbatch=most, last=sizes[1] - 1)]
    wrong = why_not(orders, *sizes, limit)
    return [wrong] if wrong else examine(Draft.of("yours", orders, *sizes))


def _lines(answers: tuple[object, ...]) -> list[object]:
    """Normalise the answers, one text with a line per rank, a list of lines, or the lines, to a list of lines."""
    if len(answers) == 1 and isinstance(answers[0], str):
        return [line for line in answers[0].splitlines() if line.strip()]
    return list(answers[0]) if len(answers) == 1 and isinstance(answers[0], list | tuple) else list(answers)


def _examine_one_f_one_b(order: Draft) -> list[str]:
    late = length(order, WHOLE) - length(schedules.one_f_one_b(RANKS, MICROBATCHES), WHOLE)
    return [words.OneFOneB.late.format(late=late), longest_pause(order, WHOLE)] if late > 0 else []


judge_one_f_one_b = Orders(
    _examine_one_f_one_b, ranks=RANKS, stages=RANKS, microbatches=MICROBATCHES, limit=ONE_F_ONE_B
)


def one_f_one_b() -> Mapping[str, Any]:
    schedule, gpipe = (each(RANKS, MICROBATCHES) for each in (schedules.one_f_one_b, schedules.gpipe))
    return {"length": length(schedule, WHOLE), "gpipe": length(gpipe, WHOLE), "orders": _told_orders(schedule)}


def _examine_circle(order: Draft) -> list[str]:
    moves = sum(moved(mine.split(), before.split()) for mine, before in zip(order.orders, CIRCLE, strict=True))
    return [words.Circle.moves.format(moves=moves)] if moves > 1 else []


judge_circle = Orders(_examine_circle, ranks=len(CIRCLE), stages=6, microbatches=3)


@cache
def par() -> float:
    """Return the length of the shortest named schedule within the limit."""
    return min(length(getattr(schedules, name)(RANKS, MICROBATCHES), UNEVEN) for name in NAMED)


def _examine_uneven(order: Draft) -> list[str]:
    mine, late = length(order, UNEVEN), length(order, UNEVEN) - par()
    if late < -1e-9:
        return []
    template = words.Uneven.longer if late > 1e-9 else words.Uneven.as_long
    return [template.format(length=mine, late=late), longest_pause(order, UNEVEN)]


judge_uneven = Orders(_examine_uneven, ranks=RANKS, stages=RANKS, microbatches=MICROBATCHES, limit=UNEVEN_LIMIT)


def shortest() -> Mapping[str, Any]:
    found = search(RANKS, MICROBATCHES, UNEVEN, UNEVEN_LIMIT)
    bound = {"bound": found.bound.length, "because": found.bound.because}
    return {"length": found.length, "orders": _told_orders(found.schedule), **bound}


def _told_orders(schedule: Draft) -> str:
    return "\n".join(words.Orders.of_rank.format(rank=rank, order=each) for rank, each in enumerate(schedule.orders))


def judge_any_size(function: object) -> Judged:
    """Judge the reader's `my_order(rank, ranks, microbatches)` in the notebook: 1F1B for any sizes, m < p included."""
    say = words.AnySize
    if not callable(function):
        return [say.no_function.format(type=type(function).__name__)]
    if does_nothing(function):
        return NotYet()
    for sizes in SIZES:
        try:
            found = _wrong_at(function, *sizes)
        except NotImplementedError:
            return NotYet()
        except Exception as error:  # raised by the reader's code: reported
            return [say.raised.format(sizes=_told_sizes(*sizes), type=type(error).__name__, error=error)]
        if found:
            return found
    return []


def _wrong_at(function: Callable, ranks: int, microbatches: int) -> list[str]:
    say = words.AnySize
    named = schedules.one_f_one_b(ranks, microbatches)

    def examine(order: Draft) -> list[str]:
        late = length(order, WHOLE) - length(named, WHOLE)
        return [say.late.format(late=late), longest_pause(order, WHOLE)] if late > 1e-9 else []

    orders = [function(rank, ranks, microbatches) for rank in range(ranks)]
    for rank, order in enumerate(orders):
        if not isinstance(order, str | list | tuple):
            return [say.strange.format(type=type(order).__name__, rank=rank)]
    strange = [word for order in orders if not isinstance(order, str) for word in order if not isinstance(word, str)]
    found = [say.no_op.format(word=word) for word in strange[:1]]
    found = found or _judged(say, orders, (ranks, microbatches), named.peak_activations, examine)
    return [say.wrong.format(sizes=_told_sizes(ranks, microbatches), why=found[0]), *found[1:]] if found else []


def _told_sizes(ranks: int, microbatches: int) -> str:
    say = words.AnySize
    told = say.microbatches[microbatches > 1].format(microbatches)
    return say.sizes.format(ranks=say.ranks[ranks > 1].format(ranks), microbatches=told)


def sizes_asked() -> Mapping[str, Any]:
    return {"sizes": ", ".join(words.AnySize.size.format(ranks=p, microbatches=m) for p, m in SIZES)}


def length(order: Draft, costs: Costs) -> float:
    """Return the end of the last op."""
    return float(_placed(order, costs).end_s.max())


def longest_pause(order: Draft, costs: Costs) -> str:
    """Return a sentence on the longest pause between two ops of a rank with the most work, and what it waits for."""
    say, placed = words.Orders, _placed(order, costs)
    start, before = placed.start_s, np.concatenate(([0.0], placed.end_s[:-1]))
    gap = start - before
    gap[order.first[:-1]] = 0  # the time before a rank's first op does not count
    work = np.add.reduceat(placed.end_s - start, order.first[:-1])
    gap[(work < work.max() - 1e-9)[order.rank]] = 0
    at = int(gap.argmax())
    if not gap[at]:
        return say.late_begin.format(rank=work.argmax())
    needed, ranks = order.needs[at], order.rank
    ops = {"op": order.told(at), "needed": order.told(needed)}
    return say.pause.format(rank=ranks[at], since=before[at], until=start[at], **ops, other=ranks[needed])


def _placed(order: Draft, costs: Costs) -> Times:
    return place(order.program, costs.table(order.stages), np.array([0.0, costs.comm]))


def moved(order: Sequence[str], before: Sequence[str]) -> int:
    """Return the fewest ops to move to turn one order into the other: those outside the longest common subsequence."""
    row = [0] * (len(before) + 1)
    for word in order:
        above = row[:]
        for at, other in enumerate(before, start=1):
            row[at] = above[at - 1] + 1 if word == other else max(above[at], row[at - 1])
    return max(len(order), len(before)) - row[-1]
