"""`ranks.status()`: for each rank whether it lives, its memory, the op it is in and since when."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass

import psutil

from lab_utils.comm.board import Board


@dataclass(frozen=True, slots=True)
class RankStatus:
    rank: int
    pid: int
    alive: bool
    memory_bytes: int
    doing: str
    for_s: float


class Status(list[RankStatus]):
    """One RankStatus per rank; prints as a table."""

    HEAD = ("rank", "pid", "alive", "memory", "doing", "for")

    def cells(self) -> list[tuple[str, ...]]:
        return [
            (str(s.rank), str(s.pid), "yes" if s.alive else "no", f"{s.memory_bytes / 2**20:.0f} MB", s.doing,
             f"{s.for_s:.1f} s" if s.alive else "")
            for s in self
        ]  # fmt: skip

    def __repr__(self) -> str:
        rows = [self.HEAD, *self.cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.HEAD))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in self.HEAD)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def read_status(pids: list[int], dead: set[int], board: Board) -> Status:
    """Read from outside, so that a rank stuck in C++ is shown too. Memory is PSS: shared pages count once."""
    found = Status()
    for rank, pid in enumerate(pids):
        alive = rank not in dead and psutil.pid_exists(pid)
        if alive:
            row = board.read(rank)
            found.append(RankStatus(rank, pid, True, memory_bytes(pid), str(row), time.perf_counter() - row.since_s))
        else:  # its row may be half written for ever
            found.append(RankStatus(rank, pid, False, 0, "gone", 0.0))
    return found


def memory_bytes(pid: int) -> int:
    """PSS where the system tells it, RSS elsewhere; 0 for a process that is gone."""
    try:
        info = psutil.Process(pid).memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    return getattr(info, "pss", info.rss)
