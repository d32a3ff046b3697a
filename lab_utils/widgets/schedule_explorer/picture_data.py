"""The content of ScheduleExplorer's picture of an order: numbers, sentences, and boxes for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from lab_utils.render import palette
from lab_utils.schedule import Costs, Draft, simulate
from lab_utils.schedule.ops import KINDS
from lab_utils.schedule.pauses import Gap, amount, gaps, is_whole
from lab_utils.text import percent_text
from lab_utils.timeline.timeline import Timeline
from lab_utils.widgets.schedule_explorer import sentences, words
from lab_utils.widgets.schedule_explorer.choice import Setting
from lab_utils.widgets.schedule_explorer.picture import schedule_picture
from lab_utils.widgets.timeline_view.words import MEANING

STYLE = palette.in_both_themes({
    "font": palette.FONT,
    "looks": [asdict(palette.COMPUTES[kind]) for kind in KINDS],
    "meanings": [MEANING[kind] for kind in KINDS],
    "colors": palette.COLORS,
})  # fmt: skip


class Drawn:
    """An order, complete or not, placed in time by the costs of its ops."""

    def __init__(self, draft: Draft, costs: Costs, limit: float | None) -> None:
        self.draft, self.limit = draft, limit
        self.order = draft  # as it was given: what cannot run to its end is drawn as far as it runs
        self.stands: Sequence[tuple[int, float, str, str]] = ()  # (rank, since, op, why) of ranks that are stuck
        self.costs = costs.divided(draft.virtual_stages)
        self.timeline: Timeline = simulate(draft, self.costs)
        times = self.timeline.prediction.times
        self.start, self.end = times.start_s, times.end_s
        self.makespan = float(self.end.max(initial=0.0))
        self.extent, self.whole = self.makespan, is_whole(draft)
        self.named = draft.stages != draft.ranks or draft.copies > 1  # ops are drawn with their stage
        self.notes: list[str] = []  # more sentences, for the text and below the picture

    @classmethod
    def of(cls, draft: Draft, setting: Setting) -> Drawn:
        return cls(draft, setting.costs, setting.limit)

    @property
    def peaks(self) -> tuple[float, ...]:
        """Peak number of micro-batches of a full stage held per rank; also of an incomplete draft."""
        d = self.draft
        parts = (d.held[a:b] for a, b in zip(d.first[:-1], d.first[1:], strict=True))
        return tuple(float(part.max(initial=0)) * d.ranks / d.stages for part in parts)

    @property
    def gaps(self) -> list[Gap]:
        """Every pause, with its reason."""
        return gaps(self.draft, self.start, self.end)

    @property
    def headline(self) -> str:
        d = self.draft
        return sentences.headline(d.name, d.ranks, d.stages, d.microbatches)

    @property
    def facts(self) -> list[list[str]]:
        """[name, value, meaning] of each number."""
        fraction = percent_text(self.timeline.bubble_fraction) if self.makespan else "0 %"
        rate = percent_text(self.timeline.prediction.bubble_rate) if self.whole else words.NOT_YET
        peak = words.AT_MOST.format(peak=f"{max(self.peaks):g}")
        numbers = (
            (words.MAKESPAN, amount(self.makespan)), (words.BUBBLE_FRACTION, fraction), (words.BUBBLE_RATE, rate),
            ((words.ACTIVATIONS, sentences.of_full_stage(self.limit)), peak),
        )  # fmt: skip
        return [[name, value, meaning] for (name, meaning), value in numbers]

    @property
    def over(self) -> list[int]:
        """The ranks that would hold more than the limit."""
        return [rank for rank, peak in enumerate(self.peaks) if self.limit is not None and peak > self.limit + 1e-9]

    @property
    def fits(self) -> str:
        """Whether it fits the limit, in a sentence; "" without a limit."""
        if self.limit is None:
            return ""
        return sentences.fits_not(self.over, self.limit) if self.over else words.FITS.format(limit=f"{self.limit:g}")

    def words(self) -> str:
        """Return the numbers and peaks in sentences, deterministic for an order."""
        facts = (f"{name} {value}" for name, value, _ in self.facts[:3])
        peaks = ", ".join(f"{peak:g}" for peak in self.peaks)
        lines = [self.headline, "; ".join(facts), words.ALL_PEAKS.format(peaks=peaks)]
        return "\n".join([*lines, *([self.fits] if self.fits else []), *self.notes])

    def to_svg(self) -> str:
        """Return the static picture: same order and costs, same bytes."""
        facts = [(name, value) for name, value, _ in self.facts]
        args = self.draft, self.start, self.end, self.headline, facts, self.peaks, self.limit, self.words()
        return schedule_picture(*args, self.notes, self.extent, [stand[:3] for stand in self.stands]).svg

    def about(self) -> dict[str, object]:
        """Return the text and layout of the boxes, for the browser."""
        d = self.draft
        return {
            "title": self.headline, "ranks": d.ranks, "stages": d.stages, "makespan": self.makespan,
            "named": self.named, "peaks": list(self.peaks), "facts": self.facts,
            "nth_on_rank": nth_on_rank(d), "limit": self.limit, "fits": self.fits, "over": self.over,
            "gaps": [list(gap) for gap in self.gaps], "words": self.words(),
        }  # fmt: skip

    def boxes(self) -> bytes:
        return packed(self.draft, self.start, self.end)


def nth_on_rank(draft: Draft) -> list[int]:
    """Return for each stage which of its rank's virtual stages it is, from 0; the smaller one if two ranks hold it."""
    held = draft.stages_of_rank
    return [
        min((held[rank].index(stage) for rank in ranks), default=0) for stage, ranks in enumerate(draft.ranks_of_stage)
    ]


def packed(draft: Draft, start: np.ndarray, end: np.ndarray) -> bytes:
    """Pack as float32[n, 6], little-endian: rank, index of the kind, stage, micro-batch, start, end."""
    columns = draft.rank, draft.kind, draft.stage, draft.microbatch, start, end
    return np.column_stack(columns).astype("<f4").tobytes()
