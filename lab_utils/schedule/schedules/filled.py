"""Weight gradients for a given order of forwards and backwards: wherever a rank would wait, or holds too much."""

from __future__ import annotations

from collections import deque

from lab_utils.schedule.schedule import F, Step, W


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
