"""Two chunks a rank in the shape of a V: rank r of p has stages r and 2p - 1 - r, so it has the first and the last.

Qi et al. 2024, "Pipeline Parallelism with Controllable Memory": a schedule is one micro-batch's ops, placed in time,
and repeated for each of them; how long a micro-batch stays on a rank decides how many of them are held.
"""

from __future__ import annotations

from collections import deque

from lab_utils.schedule.schedule import B, F, Schedule, Step, W
from lab_utils.schedule.schedules.tables import check


# Weight gradients for a given order of forwards and backwards: wherever a rank would wait, or holds too much.
def filled(orders: list[list[Step]], stages: int, limit: int, early: bool) -> list[list[Step]]:
    """The orders with a W for each B, as they come about when each op takes one unit of time.

    A rank takes the next op of its order as soon as that can run and, if it is a forward, leaves at most `limit`
    micro-batches of chunks held; or else the oldest W; or else it waits. `early`: before its first backward it rather
    takes a forward of its own first chunk ahead of its turn, and keeps one place free for the order's next one.
    """
    run = _Run(orders, stages, limit, early)
    while run.left:
        before = run.left
        run.tick()
        if run.left == before and run.now > run.last_end:
            raise ValueError(f"no rank can go on with at most {limit} micro-batches of chunks held")
    return run.orders


class _Run:
    """All ranks, from one unit of time to the next."""

    def __init__(self, orders: list[list[Step]], stages: int, limit: int, early: bool) -> None:
        self.queues = [deque(order) for order in orders]
        self.orders: list[list[Step]] = [[] for _ in orders]
        self.late: list[deque[Step]] = [deque() for _ in orders]  # weight gradients that can run
        self.held = [0] * len(orders)
        self.begun = [False] * len(orders)  # whether it has run a backward
        self.ended: dict[tuple[bool, int, int], int] = {}  # (is it a forward, stage, micro-batch) → end
        self.stages, self.limit, self.early = stages, limit, early
        self.now = self.last_end = 0
        self.left = sum(len(order) + sum(kind != F for kind, _, _ in order) for order in orders)

    def tick(self) -> None:
        for rank, queue in enumerate(self.queues):
            if queue and self._can(rank, queue[0], self.limit):
                self._take(rank, queue.popleft())
            elif self.late[rank]:
                self._take(rank, self.late[rank].popleft())
            elif self.early and queue:
                self._take_early(rank, queue)
        self.now += 1

    def _take_early(self, rank: int, queue: deque[Step]) -> None:
        ahead = next((step for step in queue if step[0] == F and step[1] == rank), None)
        if ahead is not None and not self.begun[rank] and self._can(rank, ahead, self.limit - 1):
            queue.remove(ahead)
            self._take(rank, ahead)

    def _can(self, rank: int, step: Step, limit: int) -> bool:
        """What it needs has ended, and there is room."""
        kind, stage, microbatch = step
        if kind == F:
            needed = (True, stage - 1, microbatch) if stage else None
        else:
            needed = (stage == self.stages - 1, min(stage + 1, self.stages - 1), microbatch)
        ready = needed is None or self.ended.get(needed, self.now + 1) <= self.now
        return ready and (kind != F or self.held[rank] < limit)

    def _take(self, rank: int, step: Step) -> None:
        kind, stage, microbatch = step
        self.orders[rank].append(tuple(step))
        self.left -= 1
        self.last_end = self.now + 1
        if kind == W:
            self.held[rank] -= 1
            return
        self.ended[kind == F, stage, microbatch] = self.now + 1
        if kind == F:
            self.held[rank] += 1
        else:
            self.begun[rank] = True
            self.late[rank].append((W, stage, microbatch))


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
