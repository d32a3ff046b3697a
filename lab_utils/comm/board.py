"""The board: one small shared-memory row per rank that says which op the rank is in, and since when.

A rank writes its row before it enters an op; the notebook reads it while that rank is stuck inside C++ and
could answer nothing itself. Pure: no torch, so the notebook's kernel can read it.
"""

from __future__ import annotations

import json
import mmap
import struct
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROW_BYTES = 1024
_HEADER = struct.Struct("<QI")  # version (odd while being written), length of the JSON that follows
_READ_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """What one rank is doing. `since_s` is on the machine's monotonic clock (time.perf_counter)."""

    state: str  # "idle" | "computing" | "in"
    since_s: float
    op: str = ""
    group: str = ""
    seq: int = 0
    shape: str = ""
    source: str = ""

    def __str__(self) -> str:
        if self.state != "in":
            return self.state
        return f"in {self.op} #{self.seq} {self.shape} on {self.group} ({self.source})"


class Board:
    """`Board.create(path, ranks)` makes the file; `Board(path)` opens it. `write` one's own row, `read` any."""

    def __init__(self, path: str | Path):
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._versions = [0] * (len(self._memory) // ROW_BYTES)

    @classmethod
    def create(cls, path: str | Path, ranks: int) -> Board:
        Path(path).write_bytes(bytes(ROW_BYTES * ranks))
        board = cls(path)
        for rank in range(ranks):
            board.write(rank, Row("idle", time.perf_counter()))
        return board

    def write(self, rank: int, row: Row) -> None:
        """Replace the row. A reader never sees half of it: the version is odd while it changes (a seqlock)."""
        content = json.dumps(list(asdict(row).values())).encode()
        if len(content) > ROW_BYTES - _HEADER.size:
            content = json.dumps([row.state, row.since_s, row.op[:40], row.group[:100], row.seq]).encode()
        start, version = rank * ROW_BYTES, self._versions[rank]
        self._versions[rank] = version + 2
        _HEADER.pack_into(self._memory, start, version + 1, len(content))
        self._memory[start + _HEADER.size : start + _HEADER.size + len(content)] = content
        _HEADER.pack_into(self._memory, start, version + 2, len(content))

    def read(self, rank: int) -> Row:
        """The rank's row; RuntimeError if it never stops changing (a rank killed in the middle of writing)."""
        start = rank * ROW_BYTES
        for _ in range(_READ_TRIES):
            version, length = _HEADER.unpack_from(self._memory, start)
            content = bytes(self._memory[start + _HEADER.size : start + _HEADER.size + length])
            if version % 2 == 0 and _HEADER.unpack_from(self._memory, start)[0] == version:
                return Row(*json.loads(content))
        raise RuntimeError(f"rank {rank} was stopped while writing its row of the board; restart the ranks")

    def close(self) -> None:
        self._memory.close()
