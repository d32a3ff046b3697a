"""The board: one small shared-memory row per rank with the op that the rank is in, and since when.

A rank writes its row before it enters an op; the notebook reads it while that rank is stuck inside C++ and
cannot answer. Pure: no torch, so the notebook's kernel can read it.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from functools import lru_cache
from operator import le
from pathlib import Path

from lab_utils.comm.status.rank_state import of_shape

ROW_BYTES = 2048
_VERSION_BYTES = 8  # odd while the row is being written
_HEADER = struct.Struct("<Bdq4H")  # state, since_s, seq, length of each text that follows
_TEXT_AT = _VERSION_BYTES + _HEADER.size
_STATES = {"idle": 0, "computing": 1, "in": 2}
_STATE_NAMES = tuple(_STATES)
_NO_TEXT = (0, 0, 0, 0)
_TEXT_BYTES = (256, 800, 500, 400)  # maximum of op, group, shape and source, in UTF-8
_READ_TIMEOUT_S = 10.0  # a writer that gets no core for this long counts as stopped


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

    @property
    def what(self) -> str:
        """The op, as every run prints it: "all_reduce #7 of shape [4] on world"."""
        return f"{self.op} #{self.seq}{of_shape(self.shape)} on {self.group}"


class Board:
    """`Board.create(path, ranks)` makes the file; `Board(path)` opens it. `write` your own row, `read` any."""

    def __init__(self, path: str | Path):
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        # A word is stored atomically, so no reader sees half a version; struct.pack_into would zero it first.
        self._words = memoryview(self._memory).cast("Q")
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
        self.put(rank, row.state, row.since_s, row.op, row.group, row.seq, row.shape, row.source)

    def put(self, rank: int, state: str, since_s: float, op="", group="", seq=0, shape="", source="") -> None:
        """`write` without a Row: the recorder does this twice per op."""
        content, lengths = _packed(op, group, shape, source) if op or group or shape or source else (b"", _NO_TEXT)
        start, version = rank * ROW_BYTES, self._versions[rank]
        self._versions[rank] = version + 2
        self._words[start // _VERSION_BYTES] = version + 1
        _HEADER.pack_into(self._memory, start + _VERSION_BYTES, _STATES[state], since_s, seq, *lengths)
        if content:
            self._memory[start + _TEXT_AT : start + _TEXT_AT + len(content)] = content
        self._words[start // _VERSION_BYTES] = version + 2

    def read(self, rank: int) -> Row:
        """Return the rank's row; RuntimeError if a write never completes (a rank killed in the middle of it)."""
        start, seen, since_s = rank * ROW_BYTES, -1, 0.0
        while True:
            version = self._words[start // _VERSION_BYTES]
            content = bytes(self._memory[start + _VERSION_BYTES : start + ROW_BYTES])
            if version % 2 == 0 and self._words[start // _VERSION_BYTES] == version:
                return _row(content)
            if version != seen:
                seen, since_s = version, time.perf_counter()
            elif time.perf_counter() - since_s > _READ_TIMEOUT_S:
                break
            time.sleep(0)  # the writer may wait for this core
        raise RuntimeError(f"rank {rank} was stopped while writing its row of the board; restart the ranks")

    def close(self) -> None:
        self._words.release()
        self._memory.close()


@lru_cache(maxsize=256)  # a training loop repeats its ops, which differ only in their number
def _packed(*texts: str) -> tuple[bytes, tuple[int, ...]]:
    """Return the texts joined in UTF-8, each cut to its maximum length, and their lengths in bytes."""
    lengths = tuple(map(len, texts))
    content = "".join(texts)
    if content.isascii() and all(map(le, lengths, _TEXT_BYTES)):  # nearly always, and cheap
        return content.encode(), lengths
    cut = [_cut(text, most) for text, most in zip(texts, _TEXT_BYTES, strict=True)]
    return b"".join(cut), tuple(map(len, cut))


def _cut(text: str, most_bytes: int) -> bytes:
    """Encode the text in UTF-8, truncated where it is too long."""
    encoded = text.encode(errors="replace")
    return encoded if len(encoded) <= most_bytes else encoded[:most_bytes].decode(errors="ignore").encode()


def _row(content: bytes) -> Row:
    """Unpack the row from the bytes after its version."""
    state, since_s, seq, *lengths = _HEADER.unpack_from(content)
    starts = [_HEADER.size + sum(lengths[:i]) for i in range(4)]
    op, group, shape, source = (content[a : a + n].decode() for a, n in zip(starts, lengths, strict=True))
    return Row(_STATE_NAMES[state], since_s, op, group, seq, shape, source)
