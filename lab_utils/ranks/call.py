"""One call on some ranks, from sending it to the last answer: reports, deaths and interrupts come between."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lab_utils.ranks.printing import name_ranks

if TYPE_CHECKING:
    import ipyparallel as ipp
    from ipyparallel.client.futures import MessageFuture

_AGAIN_S = 0.2


class Member(NamedTuple):
    """Where a rank is reached: its engine by number, its process by id."""

    engine: int
    pid: int


class Call:
    """One call on some ranks, from sending it to the last answer."""

    def __init__(self, client: ipp.Client, members: dict[int, Member], on_report: Callable | None):
        # Not the Ranks: futures hold this call in a circle, and Ranks that nobody has any more must end at once.
        self.client, self.members, self.on_report = client, members, on_report
        self.events: queue.SimpleQueue[tuple[str, int, Any]] = queue.SimpleQueue()
        self.waiting = set(members)
        self.answers: dict[int, Any] = {}

    def finish(self, function: Callable, args: tuple) -> list:
        """The answers in order of members, None for a rank that died. What ends it early ends the ranks' calls too."""
        self._send(function, args)
        interrupt: BaseException | None = None
        while self.waiting:
            try:
                self._take(interrupt is not None)
            except queue.Empty:
                self._interrupt()  # again: a rank that had not begun yet took no notice
            except BaseException as error:  # Ctrl-C, or whatever on_report raised
                if interrupt is not None:
                    raise
                interrupt = error
                self._interrupt()
        if isinstance(interrupt, KeyboardInterrupt):
            raise KeyboardInterrupt(f"{name_ranks(self.members)} interrupted")
        if interrupt is not None:
            raise interrupt
        return [self.answers.get(rank) for rank in self.members]

    def _send(self, function: Callable, args: tuple) -> None:
        for rank, member in self.members.items():
            self.client.send_apply_request(
                self.client[member.engine]._socket, function, args,
                ident=self.client._engines[member.engine].encode(), message_future_hook=partial(self._follow, rank),
            )  # fmt: skip

    def _follow(self, rank: int, future: MessageFuture) -> None:
        """Before the message is sent: what the rank says at once must find us listening."""
        if self.on_report is not None:
            future.iopub_callbacks.append(lambda message: self._hear(rank, message))
        future.output.add_done_callback(lambda _: self._answered(rank, future))

    def _hear(self, rank: int, message: dict) -> None:
        if message["header"]["msg_type"] == "data_message":
            values, _ = _deserialize(message["buffers"])
            self.events.put(("report", rank, values["report"]))

    def _answered(self, rank: int, future: MessageFuture) -> None:
        future.add_done_callback(lambda done: self.events.put(("answer", rank, done)))

    def died(self, rank: int) -> None:
        """Told from another thread: this rank will not answer any more."""
        self.events.put(("died", rank, None))

    def _take(self, interrupted: bool) -> None:
        kind, rank, value = self.events.get(timeout=_AGAIN_S if interrupted else None)
        if kind == "report":
            if not interrupted:
                self.on_report(rank, value)
            return
        self.waiting.discard(rank)
        if kind == "answer":
            answer = value.result()
            if not isinstance(answer, Exception):
                self.answers[rank] = answer
            elif not interrupted:  # not the user's code: that is reported inside an Outcome
                raise answer

    def _interrupt(self) -> None:
        for rank in self.waiting:
            with contextlib.suppress(ProcessLookupError):  # it died, which we are about to hear
                os.kill(self.members[rank].pid, signal.SIGINT)


def _deserialize(buffers):
    from ipyparallel.serialize import deserialize_object  # the ranks' start must not wait for ipyparallel

    return deserialize_object(buffers)
