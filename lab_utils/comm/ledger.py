"""What this rank has issued since its groups were formed: how many ops of each stream, and the last ones."""

from __future__ import annotations

from collections import deque

from lab_utils.comm.clock import host_now
from lab_utils.comm.entry import Entry
from lab_utils.comm.standing import Dropped, IssuedOp, Stream

_KEPT = 128


class Channel:
    """One side of a stream: `issued` counts the ops that this rank brought to it."""

    __slots__ = ("issued", "number", "side", "stream")

    def __init__(self, stream: Stream, side: str):
        self.stream, self.side = stream, side
        self.issued = 0
        self.number: int | None = None  # of the stream, where ranks compare what they bring

    def next(self) -> int:
        """The number of the next op, counted alike on all that take part."""
        self.issued += 1
        return self.issued - 1


class Ledger:
    """Written by the ranks' own threads; the guard's thread reads copies, each made in one step of the interpreter."""

    def __init__(self) -> None:
        self._channels: dict[tuple[Stream, str], Channel] = {}
        self._recent: deque[Entry] = deque(maxlen=_KEPT)
        self._dropped: deque[Dropped] = deque(maxlen=_KEPT)

    def channel(self, stream: Stream, side: str = "") -> Channel:
        return self._channels.setdefault((stream, side), Channel(stream, side))

    def note(self, entry: Entry) -> None:
        self._recent.append(entry)

    def issued(self) -> dict[tuple[Stream, str], int]:
        return {key: channel.issued for key, channel in self._channels.copy().items()}

    def recent(self) -> tuple[IssuedOp, ...]:
        return tuple(issued_op(entry) for entry in tuple(self._recent))

    def drop(self, entry: Entry) -> None:
        """The rank lets go of the work of a message that it has not waited for."""
        channel = entry.channel
        if self._channels.get((channel.stream, channel.side)) is channel:  # else it is of groups that were left
            self._dropped.append(Dropped(issued_op(entry), host_now()))

    def dropped(self) -> tuple[Dropped, ...]:
        return tuple(self._dropped)

    def clear(self) -> None:
        self._channels.clear()
        self._recent.clear()
        self._dropped.clear()


def issued_op(entry: Entry) -> IssuedOp:
    stream, side = entry.channel.stream, entry.channel.side
    return IssuedOp(
        stream, entry.seq, entry.name, side, entry.ranks, entry.signature, entry.shape, entry.source, entry.came_s
    )
