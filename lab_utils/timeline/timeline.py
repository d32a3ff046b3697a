"""A trace placed in time: for each rank what its own stream and the wire did, and the numbers that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from math import fsum
from typing import Any, Literal

from lab_utils.timeline.summary import summary
from lab_utils.timeline.trace import Op, Phase

Activity = Literal["compute", "communication", "waiting"]
Lane = Literal["own", "wire"]
SVG = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one rank's time in which one lane does one thing, and the op that it does.

    lane      "own" is the rank's own stream, "wire" is what its communication ops do meanwhile
    activity  own:  compute; communication (blocked while the wire is busy: exposed); waiting (blocked, and a
                    partner has not come yet)
              wire: waiting (issued, and a partner has not come yet); communication (on its way)
    track     0 on the own stream; ops that are on the wire at the same time take tracks 0, 1, 2, ...
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


@dataclass(frozen=True, repr=False)
class Timeline:
    """Spans of every rank, in order of rank, lane, track and start; time that no span covers is idle.

    The four times of a rank (compute, communication, waiting, idle) are those of its own stream and add up to
    the makespan. ValueError when spans are out of order, run backwards or overlap on one track.
    """

    world_size: int
    spans: tuple[Span, ...]
    phases: tuple[tuple[Phase, ...], ...] = ()
    kind: Literal["measured", "predicted"] = "measured"

    def __post_init__(self) -> None:
        for span in self.spans:
            if span.end_s < span.start_s or not 0 <= span.rank < self.world_size:
                raise ValueError(f"{span} ends before it starts, or its rank is not one of {self.world_size}")
        for before, after in pairwise(self.spans):
            same = _track(after) == _track(before)
            if _track(after) < _track(before) or (same and after.start_s < before.end_s):
                raise ValueError(f"{after} overlaps {before}, or stands in the wrong order after it")

    @cached_property
    def start_s(self) -> float:
        """When the first rank began: the earliest start of a span or phase."""
        return min((item.start_s for item in self._items()), default=0.0)

    @cached_property
    def makespan_s(self) -> float:
        """From the earliest start of a span or phase to the latest end, over all ranks."""
        return max((item.end_s for item in self._items()), default=0.0) - self.start_s

    @cached_property
    def compute_by_rank_s(self) -> tuple[float, ...]:
        return self._own_time_s("compute")

    @cached_property
    def exposed_comm_by_rank_s(self) -> tuple[float, ...]:
        """Time for which each rank's own stream is blocked while the wire is busy."""
        return self._own_time_s("communication")

    @cached_property
    def waiting_by_rank_s(self) -> tuple[float, ...]:
        """Time for which each rank's own stream is blocked because a partner has not come yet."""
        return self._own_time_s("waiting")

    @cached_property
    def idle_by_rank_s(self) -> tuple[float, ...]:
        """Time that no span of a rank's own stream covers: before its first op, after its last, between."""
        busy = zip(self.compute_by_rank_s, self.exposed_comm_by_rank_s, self.waiting_by_rank_s, strict=True)
        return tuple(max(0.0, self.makespan_s - fsum(parts)) for parts in busy)

    @property
    def exposed_comm_s(self) -> float:
        """Exposed communication of a rank, mean over ranks."""
        return fsum(self.exposed_comm_by_rank_s) / self.world_size if self.world_size else 0.0

    @property
    def bubble_fraction(self) -> float:
        """Idle time / (ranks × makespan), where all that is not compute on a rank's own stream is idle.

        So exposed communication and waiting are in it. The zero-bubble papers' bubble rate is another number.
        """
        return 1.0 - self.utilisation if self.makespan_s else 0.0

    @property
    def utilisation(self) -> float:
        """Compute time / (ranks × makespan): 1 - bubble_fraction."""
        available_s = self.world_size * self.makespan_s
        return min(1.0, fsum(self.compute_by_rank_s) / available_s) if available_s else 0.0

    def lane(self, rank: int, lane: Lane) -> tuple[Span, ...]:
        """Spans of one rank's lane, in order of track and start."""
        return self._lanes.get((rank, lane), ())

    def to_svg(self) -> str:
        """The picture, as text of an SVG file: same timeline, same bytes. Its marks tell their op on hover."""
        return _rendered(self, SVG, hover=True)

    def __repr__(self) -> str:
        return summary(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {SVG: _rendered(self, SVG, hover=False), "text/plain": summary(self)}

    @cached_property
    def _lanes(self) -> Mapping[tuple[int, Lane], tuple[Span, ...]]:
        return {key: tuple(spans) for key, spans in groupby(self.spans, lambda span: (span.rank, span.lane))}

    def _items(self) -> list[Span | Phase]:
        return [*self.spans, *(phase for rank_phases in self.phases for phase in rank_phases)]

    def _own_time_s(self, activity: Activity) -> tuple[float, ...]:
        return tuple(
            fsum(span.duration_s for span in self.lane(rank, "own") if span.activity == activity)
            for rank in range(self.world_size)
        )


def _track(span: Span) -> tuple[int, str, int]:
    return span.rank, span.lane, span.track


# A timeline can show itself, yet this room may not import the one that draws: that room registers here.
_renderers: dict[str, Callable[[Timeline, bool], str]] = {}


def register_renderer(mime_type: str, render: Callable[[Timeline, bool], str]) -> None:
    """Let `render(timeline, hover)` draw timelines as `mime_type` from now on; `lab_utils.render` does so on import."""
    _renderers[mime_type] = render


def _rendered(timeline: Timeline, mime_type: str, hover: bool) -> str:
    if mime_type not in _renderers:
        raise RuntimeError(f"nothing draws a Timeline as {mime_type} yet: import lab_utils.render first")
    return _renderers[mime_type](timeline, hover)
