"""The state of a rank: the op it is in, what it has issued, its current line. Pure: the notebook's kernel reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ANY_SOURCE = -1


class Stream(NamedTuple):
    """What ops are numbered by: the collectives of a group, its forming, or messages of one tag between two ranks.

    kind    "collective" | "message" | "form" (forming the group itself)
    peers   for messages (source, destination), global ranks; the source may be ANY_SOURCE. Else empty
    """

    kind: str
    group: str
    peers: tuple[int, ...] = ()
    tag: int = 0


class Channel:
    """One side of a stream: `issued` counts the ops that this rank issued on it."""

    __slots__ = ("issued", "number", "side", "stream")

    def __init__(self, stream: Stream, side: str):
        self.stream, self.side = stream, side
        self.issued = 0
        self.number: int | None = None  # of the stream, where ranks compare signatures

    def next(self) -> int:
        """Return the number of the next op, the same on all participating ranks."""
        self.issued += 1
        return self.issued - 1


def of_shape(shape: str) -> str:
    """Return what stands behind an op: " of shape [4]", " of shapes [4] [8]"; "" for an op without tensors."""
    several = shape.count("[") > 1
    return f" of shape{'s' if several else ''} {shape}" if shape else ""


@dataclass(frozen=True, slots=True)
class IssuedOp:
    """An op as one rank issued it. `seq` counts from 0 in its stream, the same on all participating ranks.

    name       what the user called: "all_reduce", "send", "recv", "new_group"
    side       "" for collectives; "send" or "recv" for messages
    ranks      members of the group, global ranks
    signature  what must match on all participating ranks: "all_reduce sum float32 x 4096", "float32 x 8"
    shape      of this rank's input tensors: "[64, 64]"
    source     the line it comes from: "train.py:41", "In [5]:3"
    came_s     when its rank reached it, on the machine's monotonic clock
    """

    stream: Stream
    seq: int
    name: str
    side: str
    ranks: tuple[int, ...]
    signature: str
    shape: str
    source: str
    came_s: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        return f"{self.name} #{self.seq}"


class Dropped(NamedTuple):
    """A message whose work its rank released at `at_s` without having waited for it."""

    op: IssuedOp
    at_s: float


@dataclass(frozen=True, slots=True)
class RankState:
    """The state of one rank at one moment. State and op are as on the board.

    state    "in" an op that it blocks on, "computing", or "idle" (no call runs on it)
    op       the op it is in; None unless state is "in"
    line     the user's line that its main thread is at, "" when there is none
    moves    grows with every change: if equal in two states of a rank, it did not move in between
    threads  ops came from more than one thread, so a blocked one does not tell what the others will do
    issued   number of ops it has issued per stream: {stream and side: count}
    recent   its last ops, oldest first
    dropped  its last messages that were never waited for and no longer can be
    """

    rank: int
    state: str
    since_s: float
    op: IssuedOp | None
    line: str = ""
    moves: int = 0
    threads: bool = False
    issued: dict[tuple[Stream, str], int] = field(default_factory=dict)
    recent: tuple[IssuedOp, ...] = ()
    dropped: tuple[Dropped, ...] = ()
