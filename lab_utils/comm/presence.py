"""What this rank shows of itself to whoever looks from outside: its row of the board, its standing, what it brings."""

from __future__ import annotations

import threading

from lab_utils.comm.board import Board, Row
from lab_utils.comm.callers import caller, main_line
from lab_utils.comm.clock import host_now
from lab_utils.comm.entry import Entry
from lab_utils.comm.ledger import Ledger, issued_op
from lab_utils.comm.signatures import Mismatch, Signatures, comparable
from lab_utils.comm.standing import Standing


class Presence:
    """One per process; the recorder is one."""

    def __init__(self) -> None:
        self.rank, self.ranks = 0, 1
        self.ledger = Ledger()
        self._shown: tuple[str, float, Entry | None] = "idle", host_now(), None
        self._board: Board | None = None
        self._signatures: Signatures | None = None
        self._moves, self._threads = 0, False
        self.mismatch = ""  # what was found to differ in this call
        self.broken = False  # an op failed, and took the connections of its group along

    def attach(self, rank: int, ranks: int, board: Board | None, signatures: Signatures | None = None) -> None:
        """Say which rank of how many this is, where it shows the op it is in, and where it compares what it brings."""
        self.rank, self.ranks, self._board, self._signatures = rank, ranks, board, signatures

    def begin_groups(self, epoch: int) -> None:
        """The groups are formed anew, and their ops numbered from 0."""
        self.ledger.clear()
        self.broken = False
        if self._signatures is not None:
            self._signatures.begin(epoch)

    def begin_call(self) -> None:
        """A call begins on this rank."""
        self._threads, self.mismatch = False, ""
        self.show("computing")

    def show(self, state: str, entry: Entry | None = None) -> None:
        """Say what this rank is doing now. An op that fails leaves its row, which then names what failed."""
        self._shown = state, host_now(), entry
        self._moves += 1
        if self._board is None:
            return
        if entry is None:
            self._board.put(self.rank, state, self._shown[1])
        else:
            shown = entry.name, entry.group, entry.seq, entry.shape, entry.source
            self._board.put(self.rank, state, self._shown[1], *shown)

    def failed(self, error: RuntimeError, connected: bool = False) -> None:
        """The backend raised this from the op that the rank is in. `connected`: it gave up the wait, and not the op."""
        error.failed_op = self.row
        self.broken |= not connected

    def standing(self) -> Standing:
        """Where this rank stands; asked from the guard's thread too."""
        moves, (state, since_s, entry) = self._moves, self._shown
        op = issued_op(entry) if state == "in" and entry is not None else None
        ledger = self.ledger
        return Standing(
            self.rank, state, since_s, op, main_line(), moves, self._threads, ledger.issued(), ledger.recent(),
            ledger.dropped(),
        )  # fmt: skip

    @property
    def row(self) -> Row:
        """What the board shows of this rank."""
        state, since_s, entry = self._shown
        if entry is None:
            return Row(state, since_s)
        return Row(state, since_s, entry.name, entry.group, entry.seq, entry.shape, entry.source)

    def come_to(self, entry: Entry) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            self._threads = True
        entry.source = caller()
        self.show("in", entry)
        entry.came_s = self._shown[1]
        self.ledger.note(entry)

    def compare(self, entry: Entry) -> None:
        """Mismatch when this rank brings something else to the op than a rank that came to it before."""
        if self._signatures is None or not comparable(entry):
            return
        try:
            self._signatures.compare(entry)
        except Mismatch as error:
            self.mismatch = str(error)
            raise
