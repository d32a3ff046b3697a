"""One call on some ranks, from the request to the last answer, with reports, deaths, failures and interrupts."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lab_utils.ranks.calls.watch import Watch, waits_since
from lab_utils.ranks.diagnosis.diagnosis import Diagnosis, diagnose
from lab_utils.ranks.diagnosis.errors import Failure, RankDied, RankError, RanksError, RanksInterrupted, RanksStuck
from lab_utils.ranks.processes.engines import Member
from lab_utils.ranks.processes.interrupts import INTERRUPT_AGAIN_S, CalledOff, interrupts_held
from lab_utils.text import name_ranks

if TYPE_CHECKING:
    import ipyparallel as ipp
    from ipyparallel.client.futures import MessageFuture

    from lab_utils.comm.status.rank_state import RankState

_LOOK_S = 0.2
_GRACE_S = 1.0  # after one rank ends, the others may end by themselves
END_AGAIN_S = 5.0  # a rank still running is told again to end: Python drops exceptions in destructors and callbacks
GIVE_UP_S = 15.0  # kill ranks that still run this long after another rank ended
_PRESSES = 3  # kill ranks that still run at this many interrupts


class Call:
    """One call on some ranks. `finish` returns or raises only when the call has ended on all of them.

    answers      {rank: Outcome}
    fates        {rank: "returned", "raised", "dead" or "absent"}, for ranks on which it does not run (any more)
    diagnosis    why it was ended, when ranks were certainly stuck
    rank_states  {rank: RankState} when the call began to be ended
    given_up     ranks that were killed
    """

    def __init__(
        self, client: ipp.Client, members: dict[int, Member], absent: set[int], watch: Watch,
        on_report: Callable | None, *, number: int, called_off: CalledOff, between: Callable[[], None],
    ):  # fmt: skip
        # No reference to Ranks: futures and this call form a cycle, and unreferenced Ranks must end at once.
        self.client, self.members, self.watch, self.on_report = client, members, watch, on_report
        self.number, self.called_off, self.between = number, called_off, between
        self.events: queue.SimpleQueue[tuple[str, int, Any]] = queue.SimpleQueue()
        self.waiting = set(members)
        self.fates: dict[int, str] = dict.fromkeys(absent, "absent")
        self.answers: dict[int, Any] = {}
        self.diagnosis: Diagnosis | None = None
        self.rank_states: dict[int, RankState] = {}
        self.given_up: set[int] = set()
        self._interrupts: list[BaseException] = []
        self._heeded = 0
        self._ending_s: float | None = None  # when ending the call began
        self._signal_s = 0.0  # time of the next interrupt
        self._interrupted = False

    def finish(self, function: Callable, args: tuple) -> None:
        """Send the call and wait for every rank. Then raise RanksInterrupted, or what `on_report` raised.

        An interrupt that the program handles (a training loop that saves and returns) is no error.
        """
        try:
            with interrupts_held():  # a rank that never got the request would never answer
                self._send(function, args)
        except KeyboardInterrupt as error:
            self._interrupts.append(error)
        while self.waiting:
            try:
                self._step()
            except BaseException as error:  # Ctrl-C, or what on_report raised
                self._interrupts.append(error)
        interrupt = next(iter(self._interrupts), None)
        if self._handled():
            return
        if isinstance(interrupt, KeyboardInterrupt):
            ended = f"; {name_ranks(self.given_up)} took no notice and had to be ended" if self.given_up else ""
            raise RanksInterrupted(f"{name_ranks(self.members)} interrupted{ended}")
        if interrupt is not None:
            raise interrupt

    @property
    def _pressed(self) -> bool:
        """Whether the user interrupted (and may do so again), rather than `on_report` raising."""
        return any(isinstance(interrupt, KeyboardInterrupt) for interrupt in self._interrupts)

    def _handled(self) -> bool:
        """Whether the program handled the user's interrupt and returned on every rank."""
        answers = self.answers.values()
        done = len(self.answers) == len(self.members) and not any(answer.failure for answer in answers)
        user = all(isinstance(interrupt, KeyboardInterrupt) for interrupt in self._interrupts)
        return user and done and any(answer.interrupted for answer in answers)

    # ------------------------------------------------------------------ sending
    def _send(self, function: Callable, args: tuple) -> None:
        from ipyparallel.serialize import PrePickled  # imported late: starting ranks must not wait for it

        packed = PrePickled(function), tuple(map(PrePickled, args))  # once, not per rank
        for rank, member in self.members.items():
            self.client.send_apply_request(
                self.client._mux_stream, *packed,
                ident=self.client._engines[member.engine].encode(), message_future_hook=partial(self._follow, rank),
            )  # fmt: skip

    def _follow(self, rank: int, future: MessageFuture) -> None:
        """Attach callbacks to the future before the message is sent, so that no early answer is missed."""
        if self.on_report is None:
            self._answered(rank, future)
        else:  # reports arrive on iopub, not with the answer: wait for `output`, which completes after the last one
            future.iopub_callbacks.append(lambda message: self._hear(rank, message))
            future.output.add_done_callback(lambda _: self._answered(rank, future))

    def _hear(self, rank: int, message: dict) -> None:
        if message["header"]["msg_type"] == "data_message":
            values, _ = _deserialize(message["buffers"])
            self.events.put(("report", rank, values["report"]))

    def _answered(self, rank: int, future: MessageFuture) -> None:
        future.add_done_callback(lambda done: self.events.put(("answer", rank, done)))

    def died(self, rank: int) -> None:
        """Record, from another thread, that the rank died and will not answer."""
        self.events.put(("died", rank, None))

    # ------------------------------------------------------------------ events
    def _step(self) -> None:
        if len(self._interrupts) > self._heeded:
            self._heeded = len(self._interrupts)
            self._end(grace_s=0)
            if self._heeded >= _PRESSES:
                self._give_up()
        self.between()
        try:
            event = self.events.get(timeout=_LOOK_S if self._ending_s is not None else self.watch.next_look_s)
        except queue.Empty:
            self._look()
        else:
            self._take(*event)

    def _take(self, kind: str, rank: int, value: Any) -> None:
        if kind == "report":
            if not self._interrupts:
                self.on_report(rank, value)
            return
        self.waiting.discard(rank)
        if kind == "died":
            self.fates[rank] = "dead"
            self._end(_GRACE_S)
        else:
            self._note(rank, value.result())

    def _note(self, rank: int, answer: Any) -> None:
        if isinstance(answer, Exception):  # not from the user's code, whose errors are in the Outcome
            self.fates[rank] = "raised"
            if not self._interrupts:
                raise answer
            return
        self.answers[rank] = answer
        failure = answer.failure
        self.fates[rank] = "raised" if failure else "returned"
        if failure:
            self._end(_GRACE_S)

    # ------------------------------------------------------------------ ending
    def _look(self) -> None:
        """Check the ranks when no event has come for a while: diagnose, or interrupt and kill those still running."""
        if self._ending_s is None:
            self.diagnosis = self.watch.look(self.waiting, self.fates)
            if self.diagnosis is not None:
                self._end(grace_s=0)
            return
        now_s = time.monotonic()
        if now_s >= self._signal_s:
            self._interrupt()
        self.watch.abort_waits(self._in_vain() if self._pressed else self.waiting)
        if now_s - self._ending_s > GIVE_UP_S and not self._pressed:
            self._give_up()

    def _in_vain(self) -> set[int]:
        """Return ranks whose waits to abort after an interrupt: C++ ignores it, or they wait for ranks that ended.

        Other ranks may be saving, and may need the group for it.
        """
        long_s = _GRACE_S if len(self.waiting) < len(self.members) else time.monotonic() - self._ending_s
        return {rank for rank in self.waiting if waits_since(self.watch.board, rank, long_s)}

    def _end(self, grace_s: float) -> None:
        """End the call on ranks where it still runs: abort their waits now, interrupt them after the grace.

        After a user's interrupt, waits are not aborted at once: the program may still handle the interrupt.
        """
        now_s = time.monotonic()
        if self._ending_s is None:
            self._ending_s, self._signal_s = now_s, float("inf")
            self.rank_states = self.watch.rank_states()
            if not self._pressed:
                self.watch.abort_waits(self.waiting)
        if not self._interrupted:  # else keep the next one's time: another rank's end does not hurry it
            self._signal_s = min(self._signal_s, now_s + grace_s)
        if grace_s == 0:
            self._interrupt()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._signal_s = time.monotonic() + (INTERRUPT_AGAIN_S if self._pressed else END_AGAIN_S)
        self.called_off.up_to(self.number)
        self._signal(signal.SIGCONT, signal.SIGINT)

    def _signal(self, *signals: int) -> None:
        """Send signals to waiting ranks, and to the process group of a rank that leads one."""
        for rank in self.waiting:
            pid = self.members[rank].pid
            for number in signals:
                with contextlib.suppress(ProcessLookupError):  # it died; `died` follows
                    (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, number)

    def _give_up(self) -> None:
        self.given_up |= self.waiting
        self._signal(signal.SIGKILL)


def _deserialize(buffers):
    from ipyparallel.serialize import deserialize_object  # imported late: starting ranks must not wait for it

    return deserialize_object(buffers)


# ------------------------------------------------------------------ the error of a call
def error_of(call: Call, dead: Mapping[int, int], memory_kills: int, lost: str) -> RanksError | None:
    """Return the error to raise for a call that has ended, None when it succeeded.

    dead          {rank: exit code} of ranks whose process ended during the call
    memory_kills  number of processes the system's OOM killer ended meanwhile
    lost          why all ranks were ended, "" when they were not
    """
    failures = [answer.failure for answer in call.answers.values() if answer.failure]
    if dead:
        return RankDied(dict(dead), failures, _how(call, dead, memory_kills, lost))
    if call.diagnosis is not None:
        return RanksStuck(call.diagnosis, failures)
    if not failures:
        return None
    if any(failure.own for failure in failures):
        return RankError(failures)
    diagnosis = _diagnose(call, failures)
    return RankError(failures) if diagnosis is None else RanksStuck(diagnosis, failures)


def _how(call: Call, dead: Mapping[int, int], memory_kills: int, lost: str) -> dict[int, str]:
    if lost:
        return dict.fromkeys(dead, lost)
    how = dict.fromkeys(call.given_up, f"took no notice of interrupts for {GIVE_UP_S:g} s and was ended")
    if memory_kills:
        for rank in [rank for rank, code in dead.items() if code == -9 and rank not in how]:
            how[rank] = "was ended by the system, which had no memory left (SIGKILL)"
    return how


def _diagnose(call: Call, failures: list[Failure]) -> Diagnosis | None:
    """Diagnose failures of which none is a rank's own error: ranks waited for each other and an op failed.

    Uses the state each rank recorded when its op failed, else the state from before the call was ended.
    """
    waited = [failure for failure in failures if failure.op or failure.mismatch]
    rank_states = call.rank_states | {f.rank: f.rank_state for f in waited if f.rank_state is not None}
    fates = {rank: fate for rank, fate in call.fates.items() if fate in ("returned", "absent")}
    silent = {rank: fate for rank, fate in call.watch.fates_of(rank_states).items() if rank not in fates}
    found = diagnose(rank_states, {**silent, **fates})
    said = next((failure for failure in waited if failure.mismatch), None)
    if found is None and said is not None:  # too long ago: the ops of that time are no longer recorded
        return Diagnosis("mismatch", (said.rank,), said.mismatch, said.where(), True)
    return found
