"""Chapter 03, orders as text: write 1F1B, resolve a deadlock, and place the W of uneven stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from lab_utils.exercises.ch03_pipeline.judge_orders import WHOLE, length, longest_pause, moved
from lab_utils.exercises.framework.exercise import Exercise, Finding, NotYet
from lab_utils.schedule import Costs, Draft, schedules, search, why_not
from lab_utils.schedule.ops import Unreadable, read

Orders = str | Sequence[str]
OPEN = ("...", "…")

RANKS, MICROBATCHES = 3, 4  # 03.6 and 03.8
ONE_F_ONE_B = tuple(RANKS - rank for rank in range(RANKS))  # micro-batches held per rank

# 03.7, three ranks, six stages, three micro-batches: each rank's order looks reasonable by itself
CIRCLE = (
    "0F0 0F1 3F0 3F1 0F2 3F2 3BW0 3BW1 3BW2 0BW0 0BW1 0BW2",
    "1F0 1F1 1F2 4F0 4F1 4F2 4BW0 4BW1 4BW2 1BW0 1BW1 1BW2",
    "2F0 5F0 2F1 5F1 2F2 5F2 5BW0 5BW1 5BW2 2BW0 2BW1 2BW2",
)
CIRCLE_STAGES, CIRCLE_MICROBATCHES = 6, 3

UNEVEN = Costs(forward=(2, 4, 4), backward_input=(2, 3, 3), backward_weight=(1, 4, 1))  # 03.8
UNEVEN_LIMIT = 3
PAR = 49  # the result of par(), constant here because the simulator takes a second to load
NAMED = ("one_f_one_b", "zb_h1")  # schedules within UNEVEN_LIMIT


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requirements on a reader's order: its sizes and the memory limit of each rank."""

    stages: int
    microbatches: int
    limit: float | tuple[float, ...] | None = None


def on_orders(wanted: Wanted, ranks: int, examine: Callable[[Draft], Finding | None]) -> Callable[..., object]:
    """Return a judge of orders as text, one per rank: they must be valid; then `examine` judges them."""

    def judge(*answers: Orders) -> Finding | NotYet | None:
        orders = _lines(answers)
        if not all(isinstance(order, str) for order in orders):
            return Finding(("give the orders as text, one line for each rank, such as 'F0 BW0 F1 BW1'",))
        if any(word in OPEN for order in orders for word in order.split()):
            return NotYet()
        if len(orders) != ranks:
            given = "1 order was" if len(orders) == 1 else f"{len(orders)} orders were"
            return Finding((f"{given} given, and there are {ranks} ranks: one line for each",))
        return _judged(orders, wanted, examine)

    return judge


def _lines(answers: tuple[object, ...]) -> list[object]:
    """Normalise the answers, one text with a line per rank, a list of lines, or the lines, to a list of lines."""
    if len(answers) == 1 and isinstance(answers[0], str):
        return [line for line in answers[0].splitlines() if line.strip()]
    return list(answers[0]) if len(answers) == 1 and isinstance(answers[0], list | tuple) else list(answers)


def _judged(orders: list[str], wanted: Wanted, examine: Callable[[Draft], Finding | None]) -> Finding | None:
    try:
        most = max((microbatch for order in read(orders) for _, _, microbatch in order), default=0)
    except Unreadable as wrong:
        return Finding((str(wrong),))
    if most >= wanted.microbatches:
        last = wanted.microbatches - 1
        return Finding((f"there is no micro-batch {most}: they are counted from 0, so the last one is {last}",))
    sizes = wanted.stages, wanted.microbatches
    if wrong := why_not(orders, *sizes, wanted.limit):
        return Finding((wrong,))
    return examine(Draft.of("yours", orders, *sizes))


# ---------------------------------------------------------------------- 03.6
def _examine_one_f_one_b(order: Draft) -> Finding | None:
    par, mine = length(schedules.one_f_one_b(RANKS, MICROBATCHES), WHOLE), length(order, WHOLE)
    if mine <= par:
        return None
    more = f"it runs to its end within the memory, and its last op ends {mine - par:g} later than 1F1B's"
    return Finding((f"{more}, if F takes 1 and BW 2", longest_pause(order, WHOLE)))


def _explain_one_f_one_b() -> str:
    schedule = schedules.one_f_one_b(RANKS, MICROBATCHES)
    mine, gpipe = (length(each, WHOLE) for each in (schedule, schedules.gpipe(RANKS, MICROBATCHES)))
    return "\n".join(
        (
            f"no rank holds more than it may, and the last op ends at {mine:g}, just when GPipe's does ({gpipe:g})",
            *(f"rank {rank}: {order}" for rank, order in enumerate(schedule.orders)),
            "Rank r runs p - r forwards, so that its first gradient finds it without a pause; then one backward and "
            "one forward in turn, so that it holds as many as before; then the backwards that are left.",
        )
    )


# ---------------------------------------------------------------------- 03.7
def _examine_circle(order: Draft) -> Finding | None:
    moves = sum(moved(mine.split(), before.split()) for mine, before in zip(order.orders, CIRCLE, strict=True))
    if moves > 1:
        return Finding((f"it runs to its end, and {moves} ops are moved: one is enough",))
    return None


def _explain_circle() -> str:
    return (
        "every rank runs to its end, and one op was moved\n"
        "Each of the three ranks waits for an op that another would run only after its own: 3F1 needs 2F1, which "
        "comes behind 5F0; that needs 4F0, behind 1F2; that needs 0F2, behind 3F1. Whichever of the three is freed, "
        "the circle is open. No buffer and no faster wire helps: the orders themselves contradict each other. With "
        "one stage a rank only neighbours can do that; with chunks the last rank hands on to the first."
    )


# ---------------------------------------------------------------------- 03.8
@cache
def par() -> float:
    """Length of the shortest named schedule within the limit."""
    return min(length(getattr(schedules, name)(RANKS, MICROBATCHES), UNEVEN) for name in NAMED)


def _examine_uneven(order: Draft) -> Finding | None:
    mine = length(order, UNEVEN)
    if mine < par() - 1e-9:
        return None
    misses = f"{mine - par():g} longer than" if mine > par() + 1e-9 else "as long as"
    said = f"it runs to its end within the memory and takes {mine:g}: {misses} the best of 1F1B and ZB-H1"
    return Finding((f"{said}, and shorter is asked", longest_pause(order, UNEVEN)))


def _explain_uneven() -> str:
    found = search(RANKS, MICROBATCHES, UNEVEN, UNEVEN_LIMIT)
    return "\n".join(
        (
            f"shorter than {par():g}, which 1F1B and ZB-H1 take; the lab's search finds {found.length:g}",
            *(f"rank {rank}: {order}" for rank, order in enumerate(found.schedule.orders)),
            f"No order is shorter than {found.bound.length:g}: {found.bound.because}. A W may wait until there is a "
            "pause, but its activations wait with it; named schedules fix the place for stages that are alike.",
        )
    )


_UNEVEN_GOAL = (
    f"Three stages with F 2, 4, 4, B 2, 3, 3 and W 1, 4, 1; no rank holds more than {UNEVEN_LIMIT} micro-batches. "
    f"1F1B and ZB-H1 take {PAR}. Find an order that is shorter."
)

EXERCISES = (
    Exercise(
        "03.6",
        f"Write 1F1B for {RANKS} ranks and {MICROBATCHES} micro-batches: the ranks may hold "
        f"{', '.join(map(str, ONE_F_ONE_B[:-1]))} and {ONE_F_ONE_B[-1]} micro-batches, and no order is to end earlier.",
        "Replace each ... by a rank's ops: F0 is a forward, BW0 a whole backward, of micro-batch 0.",
        (
            "how many forwards may each rank run before its first backward?",
            "in the middle, what has to come before the next forward, so that no more is held?",
        ),
        on_orders(Wanted(RANKS, MICROBATCHES, ONE_F_ONE_B), RANKS, _examine_one_f_one_b),
        _explain_one_f_one_b,
    ),
    Exercise(
        "03.7",
        "Three ranks with two chunks each; every order looks reasonable, and nobody gets to the end. Move one op.",
        "Change the text and run the cell again; 3F1 is the forward of micro-batch 1 through stage 3.",
        (
            "write down the waits that the check names: they lead around",
            "for one of these ranks: what does it run before the op that another one waits for?",
        ),
        on_orders(Wanted(CIRCLE_STAGES, CIRCLE_MICROBATCHES), len(CIRCLE), _examine_circle),
        _explain_circle,
    ),
    Exercise(
        "03.8",
        _UNEVEN_GOAL,
        "Change the text and run the cell again; B is the gradient of the input, W that of the weights.",
        (
            "which rank has most to do, and where does it pause?",
            "what would have to reach that rank earlier, and which op of another rank stands before it?",
        ),
        on_orders(Wanted(RANKS, MICROBATCHES, UNEVEN_LIMIT), RANKS, _examine_uneven),
        _explain_uneven,
    ),
)
