"""What this rank shows to observers: its row of the board, its state, the signatures of its ops."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

import torch

from lab_utils.comm.recorder.clock import host_now
from lab_utils.comm.recorder.fingerprints import Fingerprints, Mismatch, comparable
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.source_line import caller, main_line, main_thread_is_inside
from lab_utils.comm.status.rank_state import Channel, Dropped, IssuedOp, RankState, Stream
from lab_utils.comm.status.shared_status import Board, Row

_KEPT = 128
Awaited = tuple[tuple[PendingOp, torch.futures.Future], ...]  # ops, each with the future that is waited for


class Ledger:
    """What this rank has issued since its groups were formed: the number of ops per stream, and the last ones.

    Written by the rank's own threads; the guard's thread reads copies, each made in one atomic step of the interpreter.
    """

    def __init__(self) -> None:
        self._channels: dict[tuple[Stream, str], Channel] = {}
        self._recent: deque[PendingOp] = deque(maxlen=_KEPT)
        self._dropped: deque[Dropped] = deque(maxlen=_KEPT)

    def channel(self, stream: Stream, side: str = "") -> Channel:
        return self._channels.setdefault((stream, side), Channel(stream, side))

    def note(self, entry: PendingOp) -> None:
        self._recent.append(entry)

    def take_back(self, entry: PendingOp) -> bool:
        """Forget a message that was refused; False when another thread has sent one after it, whose number stays."""
        if entry.channel.issued != entry.seq + 1:
            return False
        entry.channel.issued -= 1
        with suppress(ValueError):  # noted so long ago that it is no longer kept
            self._recent.remove(entry)
        return True

    def issued(self) -> dict[tuple[Stream, str], int]:
        return {key: channel.issued for key, channel in self._channels.copy().items()}

    def recent(self) -> tuple[IssuedOp, ...]:
        return tuple(issued_op(entry) for entry in tuple(self._recent))

    def drop(self, entry: PendingOp) -> None:
        """Record that the rank released a message's work without having waited for it."""
        channel = entry.channel
        if self._channels.get((channel.stream, channel.side)) is channel:  # else its groups were left
            self._dropped.append(Dropped(issued_op(entry), host_now()))

    def dropped(self) -> tuple[Dropped, ...]:
        return tuple(self._dropped)

    def clear(self) -> None:
        self._channels.clear()
        self._recent.clear()
        self._dropped.clear()


def issued_op(entry: PendingOp) -> IssuedOp:
    stream, side = entry.channel.stream, entry.channel.side
    return IssuedOp(
        stream, entry.seq, entry.name, side, entry.ranks, entry.signature, entry.shape, entry.source, entry.came_s
    )


def succeeded(future: torch.futures.Future) -> bool:
    """Return whether the op is done without an error."""
    if not future.done():
        return False
    try:
        future.value()
    except RuntimeError:
        return False
    return True


class Presence:
    """The visible state of this process; the recorder is its one instance."""

    _WAITS_IN = (torch.autograd.graph.__file__,)  # its function that runs a backward pass in C++

    def __init__(self) -> None:
        self.rank, self.ranks = 0, 1
        self.ledger = Ledger()
        self._shown: tuple[str, float, PendingOp | None] = "idle", host_now(), None
        self._awaited: Awaited = ()  # while DDP waits for them, one after the other
        self._board: Board | None = None
        self._fingerprints: Fingerprints | None = None
        self._moves, self._threads = 0, False
        self.mismatch = ""  # what differed in this call
        self.broken = False  # an op failed, and with it the connections of its group

    def attach(self, rank: int, ranks: int, board: Board | None, fingerprints: Fingerprints | None = None) -> None:
        """Set this rank and the number of ranks, its board, and where it compares signatures."""
        self.rank, self.ranks, self._board, self._fingerprints = rank, ranks, board, fingerprints

    def begin_groups(self, epoch: int) -> None:
        """The groups were formed again: reset the ledger, so that ops are numbered from 0."""
        self.ledger.clear()
        self.broken = False
        if self._fingerprints is not None:
            self._fingerprints.begin(epoch)

    def begin_call(self) -> None:
        """Record that a call begins on this rank."""
        self._threads, self.mismatch = False, ""
        self.show("computing")

    def show(self, state: str, entry: PendingOp | None = None) -> None:
        """Show what this rank is doing now. An op that fails leaves its row, which then names the failed op."""
        self._shown = state, host_now(), entry
        awaited, self._awaited = self._awaited, ()
        self._moves += 1 + len(awaited)  # more than were counted while it waited
        if self._board is None:
            return
        if entry is None:
            self._board.put(self.rank, state, self._shown[1])
        else:
            shown = entry.name, entry.group, entry.seq, entry.shape, entry.source
            self._board.put(self.rank, state, self._shown[1], *shown)

    def show_awaited(self, awaited: Awaited) -> None:
        """Show that this rank waits for these ops until it shows something else; the board names the first."""
        self.show("in", awaited[0][0])
        self._awaited = awaited

    def failed(self, error: RuntimeError, connected: bool = False) -> None:
        """Record this error as raised by the rank's current op. `connected`: only the wait timed out, not the op."""
        error.failed_op = self.row
        self.broken |= not connected

    def rank_state(self) -> RankState:
        """Return the state of this rank; also called from the guard's thread."""
        moves, awaited, (state, since_s, _) = self._moves, self._awaited, self._shown
        entry, moves = self._entry, moves + sum(future.done() for _, future in awaited)
        if awaited and not main_thread_is_inside(self._WAITS_IN):  # in Python: another callback, before DDP waits
            state, entry = "computing", None
        op = issued_op(entry) if state == "in" and entry is not None else None
        ledger = self.ledger
        return RankState(
            self.rank, state, since_s, op, main_line(), moves, self._threads, ledger.issued(), ledger.recent(),
            ledger.dropped(),
        )  # fmt: skip

    @property
    def row(self) -> Row:
        """This rank's row of the board."""
        state, since_s, entry = *self._shown[:2], self._entry
        if entry is None:
            return Row(state, since_s)
        return Row(state, since_s, entry.name, entry.group, entry.seq, entry.shape, entry.source)

    @property
    def _entry(self) -> PendingOp | None:
        return next((entry for entry, future in self._awaited if not succeeded(future)), self._shown[2])

    def come_to(self, entry: PendingOp) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            self._threads = True
        entry.source = caller()
        self.show("in", entry)
        entry.came_s = self._shown[1]
        self.ledger.note(entry)

    def compare(self, entry: PendingOp) -> None:
        """Raise Mismatch when this rank's op differs from that of a rank that reached it before."""
        if self._fingerprints is None or not comparable(entry):
            return
        try:
            self._fingerprints.compare(entry)
        except Mismatch as error:
            self.mismatch = str(error)
            raise
