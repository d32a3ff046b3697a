"""Timelines: spans of every rank placed in time, the metrics computed from them, and how they draw and export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from lab_utils.text import columns, counted, percent_text, time_text
from lab_utils.timeline.export import words
from lab_utils.timeline.export.csv_table import to_csv
from lab_utils.timeline.export.perfetto import to_perfetto
from lab_utils.timeline.memory import Memory, memory_of_spans
from lab_utils.timeline.ops import Op, Phase, RankOps
from lab_utils.timeline.span import ACTIVITIES, LANES, Activity, Columns, Lane, Span, Spans

if TYPE_CHECKING:
    from lab_utils.timeline.simulator.program import Times

SVG = "image/svg+xml"
LIVE = "application/vnd.jupyter.widget-view+json"  # replaces the SVG in a notebook while its kernel runs
RANKS_SHOWN = 32


class Predicted(Protocol):
    """The source of a predicted timeline."""

    times: Times
    name: str  # of the hardware, or of the schedule

    def memory(self, spans: Spans) -> tuple[Memory, ...] | None: ...

    def critical_ops(self) -> list[int]: ...


@dataclass(frozen=True, repr=False)
class Timeline:
    """Spans of every rank, sorted by rank, lane, track and start; time without a span is idle.

    Compute, exposed communication, waiting and idle time of a rank refer to its own stream and add up to the
    makespan. ValueError when spans are out of order, end before they start or overlap on a track.
    """

    world_size: int
    spans: Sequence[Span]
    phases: tuple[tuple[Phase, ...], ...] = ()
    kind: Literal["measured", "predicted"] = "measured"
    prediction: Predicted | None = field(default=None, compare=False)
    others: tuple[float, int] | None = field(default=None, compare=False)  # of the measured trace, see RankOps

    def __post_init__(self) -> None:
        if not isinstance(self.spans, Spans):
            spans = Spans.from_spans(self.spans)
            _require_order(spans, self.world_size)
            object.__setattr__(self, "spans", spans)

    @property
    def columns(self) -> Columns:
        """The spans as arrays."""
        return self.spans.columns

    @property
    def ops(self) -> Sequence[Op]:
        """The ops that `columns.op` indexes."""
        return self.spans.ops

    @cached_property
    def start_s(self) -> float:
        """Earliest start of a span or phase, over all ranks."""
        return self._extent[0]

    @cached_property
    def makespan_s(self) -> float:
        """Time from the earliest start of a span or phase to the latest end, over all ranks."""
        return self._extent[1] - self._extent[0]

    @cached_property
    def compute_by_rank_s(self) -> tuple[float, ...]:
        return self._own_time_s("compute")

    @cached_property
    def exposed_comm_by_rank_s(self) -> tuple[float, ...]:
        """Time per rank that its own stream is blocked while the wire is busy."""
        return self._own_time_s("communication")

    @cached_property
    def waiting_by_rank_s(self) -> tuple[float, ...]:
        """Time per rank that its own stream is blocked because a partner has not issued its side yet."""
        return self._own_time_s("waiting")

    @cached_property
    def idle_by_rank_s(self) -> tuple[float, ...]:
        """Time per rank without a span on its own stream: before its first op, after its last, between ops."""
        busy = zip(self.compute_by_rank_s, self.exposed_comm_by_rank_s, self.waiting_by_rank_s, strict=True)
        return tuple(max(0.0, self.makespan_s - fsum(parts)) for parts in busy)

    @property
    def exposed_comm_s(self) -> float:
        """Exposed communication, mean over ranks."""
        return fsum(self.exposed_comm_by_rank_s) / self.world_size if self.world_size else 0.0

    @property
    def bubble_fraction(self) -> float:
        """1 - compute time / (ranks × makespan).

        Exposed communication and waiting count as bubble. The zero-bubble papers' `bubble_rate` is a different metric.
        """
        return 1.0 - self.utilisation if self.makespan_s else 0.0

    @property
    def bubble_rate(self) -> float:
        """(longest span of a rank - work) / span, as in the zero-bubble papers. ValueError unless of a schedule.

        The span runs from a rank's first op to its last: waiting before and after does not count.
        """
        rate = getattr(self.prediction, "bubble_rate", None)
        if rate is None:
            raise ValueError("bubble_rate is of a schedule's timeline, and this one is of a trace: see bubble_fraction")
        return rate

    @property
    def utilisation(self) -> float:
        """Compute time / (ranks × makespan): 1 - bubble_fraction."""
        available_s = self.world_size * self.makespan_s
        return min(1.0, fsum(self.compute_by_rank_s) / available_s) if available_s else 0.0

    @cached_property
    def memory(self) -> tuple[Memory, ...] | None:
        """Memory per rank over time; None when the ops do not carry it."""
        made_from = self.prediction
        return memory_of_spans(self.spans, self.world_size) if made_from is None else made_from.memory(self.spans)

    @property
    def critical_path(self) -> tuple[Op, ...]:
        """The ops on the critical path, in order: they follow each other without a gap and determine the makespan.

        ValueError when the timeline was measured: it does not know everything that its ops waited for.
        """
        if self.prediction is None:
            raise ValueError("only a predicted timeline knows what each op waited for: trace.timeline(hardware)")
        return tuple(self.ops[number] for number in self.prediction.critical_ops())

    @property
    def peak_activations(self) -> tuple[float, ...]:
        """Peak per rank of micro-batches of a full stage held. ValueError unless of a schedule."""
        schedule = getattr(self.prediction, "schedule", None)
        if schedule is None:
            raise ValueError("peak_activations counts micro-batches of a schedule, and this timeline is of a trace")
        return schedule.peak_activations

    def lane(self, rank: int, lane: Lane) -> Spans:
        """Spans of one lane of a rank, sorted by track and start."""
        return self._lanes.get((rank, lane), self.spans[:0])

    def to_svg(self) -> str:
        """Render as the text of an SVG file, deterministic to the byte, with the ops shown on hover."""
        return _rendered(self, SVG, hover=True)

    def to_perfetto(self, path: str | Path) -> None:
        """Write a Chrome trace, which ui.perfetto.dev opens."""
        to_perfetto(path, self.kind, self.world_size, self.spans, self.phases, self.memory or (), self.start_s)

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with one line per span."""
        to_csv(self.spans, self.start_s, path)

    def __repr__(self) -> str:
        return summary(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        still = {SVG: _rendered(self, SVG, hover=False), "text/plain": summary(self)}
        live = _rendered(self, LIVE, hover=True) if LIVE in _renderers else None
        return still if live is None else {LIVE: live, **still}

    @cached_property
    def _extent(self) -> tuple[float, float]:
        if self.prediction is not None:
            return 0.0, self.prediction.times.makespan_s
        phases = [phase for rank_phases in self.phases for phase in rank_phases]
        starts_s = [phase.start_s for phase in phases]
        ends_s = [phase.end_s for phase in phases]
        if len(self.columns):
            starts_s.append(float(self.columns.start_s.min()))
            ends_s.append(float(self.columns.end_s.max()))
        return min(starts_s, default=0.0), max(ends_s, default=0.0)

    @cached_property
    def _lanes(self) -> Mapping[tuple[int, Lane], Spans]:
        c = self.columns
        cuts = np.flatnonzero(np.diff(c.rank) | np.diff(c.lane)) + 1 if len(c) else []
        edges = [0, *cuts, len(c)]
        return {
            (int(c.rank[a]), LANES[c.lane[a]]): self.spans[a:b] for a, b in zip(edges, edges[1:], strict=False) if b > a
        }

    def _own_time_s(self, activity: Activity) -> tuple[float, ...]:
        c = self.columns
        of_it = (c.lane == LANES.index("own")) & (c.activity == ACTIVITIES.index(activity))
        durations_s = (c.end_s - c.start_s)[of_it]
        return tuple(np.bincount(c.rank[of_it], durations_s, self.world_size).tolist())


def _require_order(spans: Spans, world_size: int) -> None:
    c = spans.columns
    for at in np.flatnonzero((c.end_s < c.start_s) | (c.rank < 0) | (c.rank >= world_size))[:1]:
        raise ValueError(f"{spans[at]} ends before it starts, or its rank is not one of {world_size}")
    keys = np.stack((c.rank, c.lane, c.track), axis=1)
    backwards = np.zeros(max(0, len(c) - 1), bool)
    same = np.ones_like(backwards)
    for column in range(3):
        step = np.diff(keys[:, column].astype(np.int64))
        backwards |= same & (step < 0)
        same &= step == 0
    for at in np.flatnonzero(backwards | (same & (c.start_s[1:] < c.end_s[:-1])))[:1]:
        raise ValueError(f"{spans[at + 1]} overlaps {spans[at]}, or stands in the wrong order after it")


def kind_text(timeline: Timeline) -> str:
    """Return "measured", or "predicted for H100 cluster"."""
    made_from = timeline.prediction
    return timeline.kind if made_from is None else words.PREDICTED_FOR.format(kind=timeline.kind, name=made_from.name)


def headline(timeline: Timeline) -> str:
    """One sentence with makespan, bubble fraction and exposed communication."""
    return words.HEADLINE.format(
        ranks=counted(timeline.world_size, "rank"),
        kind=kind_text(timeline),
        makespan=time_text(timeline.makespan_s),
        bubble=percent_text(timeline.bubble_fraction),
        exposed=time_text(timeline.exposed_comm_s),
    )


def busy_text(placed: Timeline | RankOps) -> str:
    """Return that other processes took cores while this was recorded; "" where they did not, or it is not known."""
    if placed.others is None:
        return ""
    taken, cores = placed.others
    return words.BUSY.format(taken=f"{taken:.1f}", cores=cores)


def summary(timeline: Timeline) -> str:
    """The headline and a table with one line per rank; bubble is the fraction of its time without compute."""
    rows = [_row(timeline, rank) for rank in range(min(timeline.world_size, RANKS_SHOWN))]
    table = columns([tuple(words.COLUMNS.values()), *rows], str.rjust, str.rjust)
    more = timeline.world_size - RANKS_SHOWN
    said = [words.MORE_RANKS.format(count=more)] if more > 0 else []
    uncounted = 0 if timeline.prediction is None else sum(op.uncounted for op in timeline.ops)
    said += [words.LEFT_OUT.format(count=uncounted)] if uncounted else []
    return "\n".join([headline(timeline), *table, *said])


def _row(timeline: Timeline, rank: int) -> tuple[str, ...]:
    compute_s = timeline.compute_by_rank_s[rank]
    parts = (
        compute_s,
        timeline.exposed_comm_by_rank_s[rank],
        timeline.waiting_by_rank_s[rank],
        timeline.idle_by_rank_s[rank],
    )
    bubble = 1 - min(1.0, compute_s / timeline.makespan_s) if timeline.makespan_s else 0.0
    return (str(rank), *(time_text(part) for part in parts), percent_text(bubble))


# `render` imports this package, so it registers its renderers here instead of being imported.
_renderers: dict[str, Callable[[Timeline, bool], Any]] = {}


def register_renderer(mime_type: str, render: Callable[[Timeline, bool], Any]) -> None:
    """Register `render(timeline, hover)` for `mime_type`: SVG, or LIVE (may return None: not available here)."""
    _renderers[mime_type] = render


def _rendered(timeline: Timeline, mime_type: str, hover: bool) -> Any:
    if mime_type not in _renderers:
        raise RuntimeError(f"nothing draws a Timeline as {mime_type} yet: import lab_utils.render first")
    return _renderers[mime_type](timeline, hover)
