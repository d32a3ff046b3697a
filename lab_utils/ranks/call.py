"""One call on some ranks, from sending it to the last answer: reports, deaths and interrupts come between."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab_utils.ranks.printing import name_ranks

if TYPE_CHECKING:
    from lab_utils.ranks.session import Ranks


class Call:
    """One call on some ranks, from sending it to the last answer."""

    def __init__(self, ranks: Ranks, members: list[int], on_report: Callable | None):
        self.ranks, self.members, self.on_report = ranks, members, on_report
        self.events: queue.SimpleQueue[tuple[str, int, Any]] = queue.SimpleQueue()
        self.waiting = set(members)
        self.answers: dict[int, Any] = {}

    def finish(self, function: Callable, args: tuple) -> list:
        self._send(function, args)
        interrupted = False
        while self.waiting:
            try:
                self._take()
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                self._interrupt()
        if interrupted:
            self.ranks._must_join = True
            raise KeyboardInterrupt(f"{name_ranks(self.members)} interrupted")
        return [self.answers.get(rank) for rank in self.members]

    def _send(self, function: Callable, args: tuple) -> None:
        for rank in self.members:
            sent = self.ranks.client[self.ranks._engines[rank]].apply_async(function, *args)
            (future,) = sent._children
            if self.on_report is not None:
                future.iopub_callbacks.append(lambda message, rank=rank: self._hear(rank, message))
            future.output.add_done_callback(lambda _, rank=rank, future=future: self._answered(rank, future))

    def _hear(self, rank: int, message: dict) -> None:
        if message["header"]["msg_type"] == "data_message":
            values, _ = _deserialize(message["buffers"])
            self.events.put(("report", rank, values["report"]))

    def _answered(self, rank: int, future) -> None:
        future.add_done_callback(lambda done: self.events.put(("answer", rank, done)))

    def _take(self) -> None:
        kind, rank, value = self.events.get()
        if kind == "report":
            self.on_report(rank, value)
            return
        self.waiting.discard(rank)
        if kind == "answer":
            answer = value.result()
            if isinstance(answer, Exception):  # not the user's code: that is reported inside an Outcome
                raise answer
            self.answers[rank] = answer

    def _interrupt(self) -> None:
        for rank in self.waiting:
            os.kill(self.ranks._pids[rank], signal.SIGINT)


def _deserialize(buffers):
    from ipyparallel.serialize import deserialize_object  # the ranks' start must not wait for ipyparallel

    return deserialize_object(buffers)
