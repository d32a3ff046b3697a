"""Watches ranks during a call: which ranks wait for which, and whether that can ever end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import psutil

from lab_utils.comm.status.rank_state import RankState
from lab_utils.comm.status.shared_status import Board
from lab_utils.ranks.diagnosis.diagnosis import Diagnosis, diagnose
from lab_utils.ranks.on_rank.guard_thread import Guards

_LONG_S = 0.4  # a rank in one op for longer is examined
_ANSWER_S = 0.3
_OFTEN_S, _SELDOM_S = 0.1, 0.5
_SETTLE_S = 1.5  # time for slow ranks to get stuck too, so that the diagnosis names them all on a busy machine


class Watch:
    """Reads the board, and asks the guards when a rank has waited for long.

    members  {rank: process id} of all live ranks, whether the call runs on them or not
    """

    def __init__(self, board: Board, guards: Guards, members: Mapping[int, int], epoch: int):
        self.board, self.guards, self.members, self.epoch = board, guards, members, epoch
        self.next_look_s = _OFTEN_S
        self._before: dict[int, RankState] = {}
        self._certain_s: float | None = None  # when a certain diagnosis was first made

    def look(self, waiting: Iterable[int], fates: Mapping[int, str]) -> Diagnosis | None:
        """Return the diagnosis of ranks that are certain to be stuck for ever, else None.

        waiting  ranks on which the call has not ended
        fates    fates of the other ranks, as `diagnose` takes them
        """
        if not any(self._waits_long(rank) for rank in waiting):
            self.next_look_s, self._before = _OFTEN_S, {}
            return None
        self.next_look_s = min(self.next_look_s * 1.5, _SELDOM_S)
        before, self._before = self._before, self.rank_states()
        # Ranks answer one after the other. Those that have not moved since the previous answers form one consistent
        # snapshot; the state of a rank that moved is unknown.
        still = {r: s for r, s in self._before.items() if r in before and before[r].moves == s.moves}
        unknown = dict.fromkeys(self._before.keys() - still.keys(), "silent")
        diagnosis = diagnose(still, {**unknown, **self.fates_of(self._before), **fates})
        if diagnosis is None or not diagnosis.certain:
            return None
        return diagnosis if self._has_settled(still, waiting) else None

    def _has_settled(self, still: Mapping[int, RankState], waiting: Iterable[int]) -> bool:
        """Whether every waiting rank is in an op and has not moved, or has had the time to get there."""
        now_s = time.monotonic()
        if self._certain_s is None:
            self._certain_s = now_s
        self.next_look_s = _OFTEN_S
        return all(rank in still and still[rank].op for rank in waiting) or now_s - self._certain_s > _SETTLE_S

    def rank_states(self) -> dict[int, RankState]:
        return self.guards.rank_states(self.members, _ANSWER_S)

    def abort_waits(self, ranks: Iterable[int]) -> None:
        """End every wait of these ranks for other ranks."""
        self.guards.abort_waits(ranks, self.epoch, _ANSWER_S)

    def fates_of(self, rank_states: Mapping[int, RankState]) -> dict[int, str]:
        """Return {rank: fate} of ranks that gave no answer: "stopped" by a signal, or "silent"."""
        missing = self.members.keys() - rank_states.keys()
        return {rank: "stopped" if stopped(self.members[rank]) else "silent" for rank in missing}

    def _waits_long(self, rank: int) -> bool:
        return waits_since(self.board, rank, _LONG_S)


def waits_since(board: Board, rank: int, long_s: float) -> bool:
    """Whether the rank has been in one op for longer than `long_s`; False when its row is half written."""
    try:
        row = board.read(rank)
    except RuntimeError:
        return False
    return row.state == "in" and time.perf_counter() - row.since_s > long_s


def stopped(pid: int) -> bool:
    """Whether a signal such as SIGSTOP has stopped this process."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
