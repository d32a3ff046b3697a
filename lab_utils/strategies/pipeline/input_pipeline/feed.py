"""Preprocessing on separate ranks, ahead of the ranks that train: a pipeline over the phases of training.

While trainers compute on one item, workers preprocess the next. A bounded queue between each pair of them limits how
far workers run ahead: memory holds at most `room` finished items per pair (back pressure).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import gcd
from typing import Any

import torch.distributed as dist

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.pipeline.errors import PreprocessError, reraise_as
from lab_utils.strategies.pipeline.input_pipeline.bounded_queue import Receiver, Sender


class Feed:
    """Worker n modulo workers preprocesses item n for trainer n modulo trainers: the same on every run.

    >>> feed = Feed(workers=[1, 2], trainers=[0])
    >>> if feed.is_worker:
    ...     feed.serve(texts, tokenise)
    ... else:
    ...     with feed.items() as items:
    ...         for x, y in items:
    ...             step(model, optimizer, x, y)

    workers, trainers   ranks of the group, each in one of the two
    room                finished items between a worker and a trainer

    A trainer gets what it would get by preprocessing its items itself, in their order. ValueError when ranks
    are in both roles, or a role has none.
    """

    def __init__(
        self,
        workers: Sequence[int],
        trainers: Sequence[int],
        *,
        room: int = 2,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self.workers, self.trainers, self.room = list(workers), list(trainers), room
        self.group = group or dist.group.WORLD
        roles = [*self.workers, *self.trainers]
        if not self.workers or not self.trainers or len(set(roles)) < len(roles):
            raise ValueError(
                f"workers {self.workers}, trainers {self.trainers}: a rank has one role, a role has a rank"
            )
        if room < 1:
            raise ValueError(f"room={room}: a queue needs room for one item at least")

    @property
    def is_worker(self) -> bool:
        return self.group.rank() in self.workers

    # ------------------------------------------------------------------ a worker
    def serve(self, items: Iterable[Any], preprocess: Callable[[Any], object]) -> int:
        """Preprocess this worker's items and send them until none are left or no trainer wants more; return how many.

        items   all of them, the same on every worker. PreprocessError, which names the item, when one fails
        """
        mine = self.workers.index(self.group.rank())
        ends = {t: Sender(self.group, self.trainers[t], self.room) for t in self._partners(mine, self.trainers)}
        made = 0
        for n, item in enumerate(items):
            if all(end.stopped for end in ends.values()):
                break
            if n % len(self.workers) == mine and not (end := ends[n % len(self.trainers)]).stopped:
                with phase("preprocess"), reraise_as(PreprocessError, f"preprocessing item {n}"):
                    ready = preprocess(item)
                end.put(ready)
                made += 1
        for end in ends.values():
            if not end.stopped:
                end.end()
        return made

    # ------------------------------------------------------------------ a trainer
    @contextmanager
    def items(self) -> Iterator[Iterator[Any]]:
        """Yield this trainer's items, in order. Leaving the block before the end tells the workers to stop."""
        mine = self.trainers.index(self.group.rank())
        ends = {w: Receiver(self.group, self.workers[w], self.room) for w in self._partners(mine, self.workers)}
        yield self._in_order(mine, ends)
        for end in ends.values():  # not after an error, which ends the other ranks too
            end.close()

    def _in_order(self, n: int, ends: dict[int, Receiver]) -> Iterator[Any]:
        while taken := ends[n % len(self.workers)].take():
            yield taken[0]
            n += len(self.trainers)

    def _partners(self, mine: int, others: Sequence[int]) -> list[int]:
        """Return the indices of the ranks in the other role that this rank shares items with."""
        step = gcd(len(self.workers), len(self.trainers))
        return [place for place in range(len(others)) if (place - mine) % step == 0]
