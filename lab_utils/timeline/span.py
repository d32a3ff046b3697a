"""Spans of a timeline: as single objects, and as columns for vectorised arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np

from lab_utils.timeline.ops import Op

Activity = Literal["compute", "communication", "waiting"]
Lane = Literal["own", "wire"]
ACTIVITIES: tuple[Activity, ...] = ("compute", "communication", "waiting")
LANES: tuple[Lane, ...] = ("own", "wire")


@dataclass(frozen=True, slots=True)
class Span:
    """A time interval of one lane of a rank, with one activity and the op that it belongs to.

    lane      "own" is the rank's own stream, "wire" its communication ops in flight
    activity  own:  compute; communication (blocked while the wire is busy: exposed); waiting (blocked until a
                    partner issues its side)
              wire: waiting (issued, but a partner has not issued its side; or, predicted, the previous op of its
                    group is still in flight); communication (in flight)
    track     0 on the own stream; ops in flight at the same time take tracks 0, 1, 2, ...
    """

    rank: int
    lane: Lane
    activity: Activity
    start_s: float
    end_s: float
    op: Op
    track: int = 0

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """Spans as arrays of equal length: `lane` indexes LANES, `activity` ACTIVITIES, `op` the ops they belong to."""

    rank: np.ndarray
    lane: np.ndarray
    track: np.ndarray
    activity: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    op: np.ndarray

    def __len__(self) -> int:
        return len(self.rank)

    @classmethod
    def of(cls, rank, lane, track, activity, start_s, end_s, op) -> Columns:
        """Build from array-likes, converted to the dtype of each column."""
        types = (np.int32, np.uint8, np.int32, np.uint8, np.float64, np.float64, np.int64)
        given = (rank, lane, track, activity, start_s, end_s, op)
        return cls(*(np.asarray(column, dtype) for column, dtype in zip(given, types, strict=True)))

    def take(self, which: np.ndarray) -> Columns:
        """Select spans by index array, mask or slice."""
        return Columns(*(getattr(self, name)[which] for name in self.__slots__))

    def in_order(self) -> Columns:
        """Sort by rank, lane, track and start."""
        return self.take(np.lexsort((self.start_s, self.track, self.lane, self.rank)))

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


class Spans(Sequence[Span]):
    """A lazy sequence of Span over Columns; `columns` may be a callable, called on first access."""

    def __init__(self, columns: Columns | Callable[[], Columns], ops: Sequence[Op]) -> None:
        self._made, self.ops = columns, ops

    @property
    def columns(self) -> Columns:
        if callable(self._made):
            self._made = self._made()
        return self._made

    @classmethod
    def from_spans(cls, spans: Sequence[Span]) -> Spans:
        columns = Columns.of(
            [s.rank for s in spans], [LANES.index(s.lane) for s in spans], [s.track for s in spans],
            [ACTIVITIES.index(s.activity) for s in spans], [s.start_s for s in spans], [s.end_s for s in spans],
            range(len(spans)),
        )  # fmt: skip
        return cls(columns, [s.op for s in spans])

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, at: int) -> Span: ...
    @overload
    def __getitem__(self, at: slice) -> Spans: ...
    def __getitem__(self, at):
        if isinstance(at, slice):
            return Spans(self.columns.take(at), self.ops)
        c = self.columns
        return Span(
            int(c.rank[at]), LANES[c.lane[at]], ACTIVITIES[c.activity[at]], float(c.start_s[at]), float(c.end_s[at]),
            self.ops[c.op[at]], int(c.track[at]),
        )  # fmt: skip

    def __iter__(self) -> Iterator[Span]:
        c = self.columns
        listed = (c.rank, c.lane, c.activity, c.start_s, c.end_s, c.op, c.track)
        for rank, lane, activity, start_s, end_s, op, track in zip(*(a.tolist() for a in listed), strict=True):
            yield Span(rank, LANES[lane], ACTIVITIES[activity], start_s, end_s, self.ops[op], track)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None

    def __repr__(self) -> str:
        return f"<{len(self)} spans>"
