"""Ranks compare the signatures of an op before it is handed to the backend.

gloo compares nothing: all-reducing 4 numbers on one rank and 8 on another silently gives wrong sums, or ends the
process. So each rank posts its signature where the others on this machine can read it, then checks theirs: of two
that differ, the later one sees it and raises.
"""

from __future__ import annotations

import mmap
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from lab_utils.comm.status.rank_state import ANY_SOURCE

if TYPE_CHECKING:
    from lab_utils.comm.recorder.pending_op import PendingOp
    from lab_utils.comm.status.rank_state import Channel

RECORD_BYTES = 128
_KEY_BYTES = 8  # identifies the op: half for the stream, half for its number
_SLOTS = 256  # ops that a rank may be ahead of another before its posts are overwritten unread
_HALF_WRITTEN_S = 0.01  # a record is written in far less


class Mismatch(RuntimeError):
    """Two ranks pass different things to the same op."""


class Fingerprints:
    """`Fingerprints.create(path, ranks)` makes the file; `Fingerprints(path, rank, ranks)` opens it on a rank."""

    def __init__(self, path: str | Path, rank: int, ranks: int):
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._rank, self._ranks, self._epoch = rank, ranks, 0

    def begin(self, epoch: int) -> None:
        """The groups were formed again: ops are numbered from 0, and earlier posts belong to other ops."""
        self._epoch = epoch

    @staticmethod
    def create(path: str | Path, ranks: int) -> None:
        Path(path).write_bytes(bytes(RECORD_BYTES * _SLOTS * ranks))

    def compare(self, entry: PendingOp) -> None:
        """Post this rank's signature; raise Mismatch when a rank that reached the op before posted a different one."""
        channel, (stream, slot, mine) = entry.channel, self._place(entry)
        said = f"{entry.name} {entry.signature}"
        record = _record(stream << 32 | entry.seq & 0xFFFFFFFF, said if channel.side == "" else entry.signature)
        memory = self._memory
        memory[mine : mine + RECORD_BYTES] = record
        key = record[:_KEY_BYTES]
        for rank in channel.stream.peers or entry.ranks:
            start = slot + rank * RECORD_BYTES
            if rank != self._rank and memory[start : start + _KEY_BYTES] == key and self._differs(start, record):
                raise Mismatch(self._sentence(entry, rank, self._said(mine), self._said(start)))

    def take_back(self, entry: PendingOp) -> None:
        """Remove the post of an op that the backend refused: the next one has its number."""
        _, _, mine = self._place(entry)
        self._memory[mine : mine + RECORD_BYTES] = bytes(RECORD_BYTES)

    def _place(self, entry: PendingOp) -> tuple[int, int, int]:
        """Return the number of the op's stream, where all ranks post such an op, and where this one does."""
        channel = entry.channel
        stream = channel.number if channel.number is not None else self._number(channel)
        slot = (stream + entry.seq) % _SLOTS * self._ranks * RECORD_BYTES
        return stream, slot, slot + self._rank * RECORD_BYTES

    def _number(self, channel: Channel) -> int:
        channel.number = crc32(f"{self._epoch} {channel.stream}".encode())
        return channel.number

    def _differs(self, start: int, record: bytes) -> bool:
        """Return whether the other's record stays different: it may be half written."""
        until_s = time.perf_counter() + _HALF_WRITTEN_S
        while self._memory[start : start + RECORD_BYTES] != record:
            if time.perf_counter() > until_s:
                return self._memory[start : start + _KEY_BYTES] == record[:_KEY_BYTES]
        return False

    def _said(self, start: int) -> str:
        return self._memory[start + _KEY_BYTES : start + RECORD_BYTES].rstrip(b"\0").decode(errors="replace")

    def _sentence(self, entry: PendingOp, rank: int, mine: str, theirs: str) -> str:
        what = f"#{entry.seq} on {entry.group}"
        if entry.channel.side:
            source, destination = entry.channel.stream.peers
            what = f"message {what} from rank {source} to rank {destination}"
        return f"{what}: rank {self._rank} brings {mine.strip()}, rank {rank} brings {theirs.strip()}"


def comparable(entry: PendingOp) -> bool:
    """Return whether the op's peer is known: that of a receive from any source is known only when it is done."""
    return ANY_SOURCE not in entry.channel.stream.peers


def _record(key: int, said: str) -> bytes:
    return key.to_bytes(_KEY_BYTES, "little") + _text(said)


@lru_cache(maxsize=256)
def _text(said: str) -> bytes:
    return said.encode()[: RECORD_BYTES - _KEY_BYTES].ljust(RECORD_BYTES - _KEY_BYTES, b"\0")
