"""`ranks.status()`: per rank whether it lives, its memory, its op, for how long and for which ranks it waits."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass

import psutil

from lab_utils.comm.status.rank_state import RankState
from lab_utils.comm.status.shared_status import Row
from lab_utils.ranks.calls.watch import Watch, stopped, waits_since
from lab_utils.ranks.diagnosis.diagnosis import Diagnosis, diagnose
from lab_utils.ranks.diagnosis.wait_graph import awaited
from lab_utils.ranks.processes.engines import Engines
from lab_utils.text import columns, name_ranks

_LOOK_AFTER_S = 0.2  # shorter waits are normal and not examined


@dataclass(frozen=True, slots=True)
class RankStatus:
    """Status of one rank. `waits_for` names the ranks it waits for, "" when it waits for none, or only briefly."""

    rank: int
    pid: int
    alive: bool
    memory_bytes: int
    doing: str
    for_s: float
    waits_for: str = ""


class Status(list[RankStatus]):
    """One RankStatus per rank; prints as a table. `diagnosis`: which ranks wait for which, None without long waits."""

    HEAD = ("rank", "pid", "alive", "memory", "doing", "for", "waits for")
    diagnosis: Diagnosis | None = None

    @property
    def says(self) -> str:
        """Return the diagnosis in one sentence, "" when no rank waits long."""
        return "" if self.diagnosis is None else self.diagnosis.sentence

    def cells(self) -> list[tuple[str, ...]]:
        return [
            (str(s.rank), str(s.pid), "yes" if s.alive else "no", f"{s.memory_bytes / 2**20:.0f} MB", s.doing,
             f"{s.for_s:.1f} s" if s.alive else "", s.waits_for)
            for s in self
        ]  # fmt: skip

    def __repr__(self) -> str:
        lines = columns([self.HEAD, *self.cells()])
        return "\n".join([*lines, self.says] if self.says else lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in self.HEAD)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.cells()
        )
        said = f"<p>{html.escape(self.says)}</p>" if self.says else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{said}"


def read_status(engines: Engines) -> Status:
    """Read the status from outside, so that it shows ranks stuck in C++. Memory is PSS: shared pages count once."""
    found, dead = Status(), set(engines.dead)
    waits: dict[int, set[int]] = {}
    if any(waits_since(engines.board, rank, _LOOK_AFTER_S) for rank in engines.members.keys() - dead):
        found.diagnosis, waits = _look(engines, dead)
    for rank, member in sorted(engines.members.items()):
        if rank in dead or not psutil.pid_exists(member.pid):  # its row may stay half written
            found.append(RankStatus(rank, member.pid, False, 0, "gone", 0.0))
            continue
        row = engines.board.read(rank)
        doing = "stopped by a signal" if stopped(member.pid) else doing_text(row)
        for_s = time.perf_counter() - row.since_s
        waits_for = name_ranks(waits[rank]) if waits.get(rank) else ""
        found.append(RankStatus(rank, member.pid, True, memory_bytes(member.pid), doing, for_s, waits_for))
    return found


def doing_text(row: Row) -> str:
    """Return "idle", "computing", or the op that the rank is in and the line that issued it."""
    return f"in {row.what} ({row.source})" if row.state == "in" else row.state


def _look(engines: Engines, dead: set[int]) -> tuple[Diagnosis | None, dict[int, set[int]]]:
    pids = {rank: member.pid for rank, member in engines.members.items() if rank not in dead}
    watch = Watch(engines.board, engines.guards, pids, engines.epoch)
    rank_states = watch.rank_states()
    fates = {**watch.fates_of(rank_states), **dict.fromkeys(dead, "dead"), **_idle(rank_states)}
    return diagnose(rank_states, fates), {
        rank: awaited(rank_state, rank_states) for rank, rank_state in rank_states.items()
    }


def _idle(rank_states: dict[int, RankState]) -> dict[int, str]:
    """Return {rank: "returned"} of idle ranks: their part of a call has ended, or they were not called."""
    return {rank: "returned" for rank, rank_state in rank_states.items() if rank_state.state == "idle"}


def memory_bytes(pid: int) -> int:
    """Return the process's PSS in bytes (shared pages divided), RSS where the system has no PSS, 0 if it is gone."""
    try:
        info = psutil.Process(pid).memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    return getattr(info, "pss", info.rss)
