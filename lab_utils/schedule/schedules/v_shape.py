"""V-shaped schedules, two virtual stages per rank: rank r of p holds stages r and 2p - 1 - r, rank 0 first and last.

Qi et al. 2024, "Pipeline Parallelism with Controllable Memory": a schedule is one micro-batch's ops placed in time,
repeated per micro-batch; the lifetime of a micro-batch on a rank determines how many it holds.
"""

from __future__ import annotations

from collections import deque

from lab_utils.schedule.schedule import B, F, Schedule, Step, W, check_sizes


def filled(orders: list[list[Step]], stages: int, limit: int, early: bool) -> list[list[Step]]:
    """Return the orders with a W inserted for each B, by simulating ops of one time unit each.

    A rank runs the next op of its order if that is ready and, for a forward, leaves at most `limit` micro-batches of
    virtual stages held; else the oldest W; else it waits. `early`: before its first backward, instead of waiting it
    runs a forward of its first virtual stage ahead of its turn, if one place stays free for the order's next one.
    """
    run = _Run(orders, stages, limit, early)
    while run.left:
        before = run.left
        run.tick()
        if run.left == before and run.now > run.last_end:
            raise ValueError(f"no rank can go on with at most {limit} micro-batches of virtual stages held")
    return run.orders


class _Run:
    """State of all ranks, advanced one time unit at a time."""

    def __init__(self, orders: list[list[Step]], stages: int, limit: int, early: bool) -> None:
        self.queues = [deque(order) for order in orders]
        self.orders: list[list[Step]] = [[] for _ in orders]
        self.late: list[deque[Step]] = [deque() for _ in orders]  # weight gradients that are ready
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
        """Whether the step's inputs are done and memory is below the limit."""
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


PERIOD = 6  # time units per micro-batch on a rank: F, B and W of two virtual stages, one unit each


def zb_v(ranks: int, microbatches: int) -> Schedule:
    """No bubble with 1F1B's memory, if F, B and W take equally long and m >= 2p - 1; 2 x ranks stages of the model.

    Qi et al. 2024, "Zero Bubble Pipeline Parallelism", section 6 (found there by a search; here built by the rule of
    this module's paper, with forwards that fill the pauses before a rank's first backward). Each rank holds p
    micro-batches. Twice as many messages as 1F1B.
    """
    limit = 2 * ranks
    return _v("ZB-V", ranks, microbatches, steps=(3, 3, 3, 3), pauses=(1, 1, 1), limit=limit, early=True)


def v_half(ranks: int, microbatches: int) -> Schedule:
    """Half of 1F1B's bubble and half of its memory, if F, B and W take equally long; 2 x ranks stages of the model.

    Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", section 3. Each rank holds (p + 2) // 2
    micro-batches.
    """
    pauses = (1, 1, 2 if ranks % 2 else 5)
    return _v("V-Half", ranks, microbatches, steps=(1, 2, 1, 2), pauses=pauses, limit=2 * ((ranks + 2) // 2))


def v_min(ranks: int, microbatches: int) -> Schedule:
    """2/3 of 1F1B's bubble, 1/3 of its memory, if F, B and W take equally long; 2 x ranks stages of the model.

    Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", section 3. Each rank holds (p + 4) // 3
    micro-batches. If 3 divides p, one pause is longer, as two ops of a rank would collide otherwise.
    """
    pauses = (1, 1 if ranks % 3 else 3, 1)
    return _v("V-Min", ranks, microbatches, steps=(1, 1, 1, 1), pauses=pauses, limit=2 * ((ranks + 4) // 3))


def _v(name: str, p: int, m: int, steps: tuple, pauses: tuple, limit: int, early: bool = False) -> Schedule:
    """Repeat one micro-batch's forwards and backwards every PERIOD; weight gradients run where a rank would wait.

    steps    time from rank to rank: forwards down the V and up again, backwards down and up again
    pauses   time between these four passes. No two ops of a rank may fall on the same time modulo PERIOD
    limit    maximum of micro-batches of virtual stages that a rank holds
    """
    check_sizes(m, ranks=p)
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
    """Per rank, the times of micro-batch 0: forward down, forward up, backward down, backward up."""
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
