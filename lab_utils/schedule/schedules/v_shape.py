"""Two chunks a rank in the shape of a V: rank r of p has stages r and 2p - 1 - r, so it has the first and the last.

Qi et al. 2024, "Pipeline Parallelism with Controllable Memory": a schedule is one micro-batch's ops, placed in time,
and repeated for each of them; how long a micro-batch stays on a rank decides how many of them are held.
"""

from __future__ import annotations

from lab_utils.schedule.schedule import B, F, Schedule, Step
from lab_utils.schedule.schedules.filled import filled
from lab_utils.schedule.schedules.made import check

PERIOD = 6  # each rank runs six ops of a micro-batch: F, B and W of two chunks, each of them one unit of time


def zb_v(ranks: int, microbatches: int) -> Schedule:
    """No bubble with 1F1B's memory, if F, B and W take as long and m >= 2p - 1; 2 x ranks stages of the model.

    Qi et al. 2024, "Zero Bubble Pipeline Parallelism", section 6 (there found by a search; here the rule of the
    module's paper, and forwards that fill the pauses before a rank's first backward). Each rank holds p micro-batches.
    Twice as many messages as in 1F1B.
    """
    limit = 2 * ranks
    return _v("ZB-V", ranks, microbatches, steps=(3, 3, 3, 3), pauses=(1, 1, 1), limit=limit, early=True)


def v_half(ranks: int, microbatches: int) -> Schedule:
    """Half of 1F1B's bubble and half of its memory, if F, B and W take as long; 2 x ranks stages of the model.

    Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", section 3. Each rank holds (p + 2) // 2
    micro-batches.
    """
    pauses = (1, 1, 2 if ranks % 2 else 5)
    return _v("V-Half", ranks, microbatches, steps=(1, 2, 1, 2), pauses=pauses, limit=2 * ((ranks + 2) // 2))


def v_min(ranks: int, microbatches: int) -> Schedule:
    """Two thirds of 1F1B's bubble, a third of its memory, if F, B and W take as long; 2 x ranks stages of the model.

    Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", section 3. Each rank holds (p + 4) // 3
    micro-batches. Where 3 divides p it waits a little longer, as two of its ops would fall on one moment.
    """
    pauses = (1, 1 if ranks % 3 else 3, 1)
    return _v("V-Min", ranks, microbatches, steps=(1, 1, 1, 1), pauses=pauses, limit=2 * ((ranks + 4) // 3))


def _v(name: str, p: int, m: int, steps: tuple, pauses: tuple, limit: int, early: bool = False) -> Schedule:
    """Repeat one micro-batch's forwards and backwards each PERIOD; weight gradients go where a rank would wait.

    steps    time from rank to rank: forwards down the V and up again, backwards down and up again
    pauses   time from one of these four ways to the next. No two ops of a rank may fall on one moment of the period
    limit    how many micro-batches of chunks a rank holds at most
    """
    check(m, ranks=p)
    offsets = _offsets(p, steps, pauses)
    orders: list[list[Step]] = []
    for rank, moments in enumerate(offsets):
        low, high = rank, 2 * p - 1 - rank
        ways = ((F, low), (F, high), (B, high), (B, low))
        placed = [
            (moment + PERIOD * i, kind, stage, i)
            for moment, (kind, stage) in zip(moments, ways, strict=True)
            for i in range(m)
        ]
        orders.append([step for _, *step in sorted(placed)])
    return Schedule.of_steps(name, filled(orders, 2 * p, limit, early), 2 * p, m)


def _offsets(p: int, steps: tuple, pauses: tuple) -> list[tuple[int, int, int, int]]:
    """For each rank when micro-batch 0 comes by: forward down, forward up, backward down, backward up."""
    turn = p - 1
    down, up, back, home = steps
    at_turn = down * turn
    top = at_turn + pauses[0] + up * turn
    back_turn = top + pauses[1] + back * turn
    return [
        (
            down * rank,
            at_turn + pauses[0] + up * (turn - rank),
            top + pauses[1] + back * rank,
            back_turn + pauses[2] + home * (turn - rank),
        )
        for rank in range(p)
    ]
