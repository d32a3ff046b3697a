"""Phase bands: slim named intervals above a rank's lanes, a tint per name, nested ones below the outer."""

from __future__ import annotations

from collections.abc import Iterator

from lab_utils.render import palette
from lab_utils.render.kit import element, text, text_width, tip
from lab_utils.text import time_text
from lab_utils.timeline.ops import Phase
from lab_utils.timeline.timeline import Timeline
from lab_utils.widgets.timeline_view import words
from lab_utils.widgets.timeline_view.layout import PLOT_LEFT, Layout, nested
from lab_utils.widgets.timeline_view.marks import THINNEST

NAME_SIZE = 10


class Bands:
    """Draws the phases of a timeline; `scale` is in user units per second, `hover` adds tooltips."""

    def __init__(self, timeline: Timeline, layout: Layout, scale: float, hover: bool) -> None:
        self.layout, self.scale, self.origin_s, self.hover = layout, scale, timeline.start_s, hover
        self.levels = [_by_level(nested(phases), layout.phase_depth) for phases in timeline.phases]
        shown = [phase for levels in self.levels for phases in levels for phase in phases]
        names = dict.fromkeys(phase.name for phase in shown)
        self.tints = {name: palette.phase_fill(position) for position, name in enumerate(names)}
        self.named = {phase.name for phase in shown if self._fits(phase)}

    def unnamed(self) -> dict[str, str]:
        """Map name to tint of the phases that are everywhere too short for their name."""
        return {name: tint for name, tint in self.tints.items() if name not in self.named}

    def row(self, rank: int) -> Iterator[str]:
        for level, phases in enumerate(self.levels[rank] if rank < len(self.levels) else ()):
            y = self.layout.top(rank) + level * self.layout.phase
            thin: list[Phase] = []
            for phase in phases:
                if (phase.end_s - phase.start_s) * self.scale < 2 * THINNEST:
                    thin.append(phase)
                    continue
                yield from self._merged(thin, y)
                thin = []
                yield self._band(phase, y)
            yield from self._merged(thin, y)

    def _merged(self, phases: list[Phase], y: float) -> Iterator[str]:
        if len(phases) == 1:
            yield self._band(phases[0], y)
        elif phases:
            names = ", ".join(sorted({phase.name for phase in phases}))
            said = words.SHORT_PHASES.format(count=len(phases), names=names)
            yield self._box(phases[0].start_s, phases[-1].end_s, y, palette.GRID, said)

    def _band(self, phase: Phase, y: float) -> str:
        start, duration = time_text(phase.start_s - self.origin_s), time_text(phase.end_s - phase.start_s)
        when = words.WHEN_ON_RANK.format(rank=phase.rank, start=start, duration=duration)
        said = f"{words.PHASE.format(phase=phase.name)}\n{when}"
        box = self._box(phase.start_s, phase.end_s, y, self.tints[phase.name], said, data_phase=phase.name)
        if not self._fits(phase):
            return box
        x = PLOT_LEFT + (phase.start_s - self.origin_s) * self.scale + 5
        base = y + self.layout.phase - 4.5
        return box + text(phase.name, x, base, font_size=NAME_SIZE, pointer_events="none")

    def _box(self, start_s: float, end_s: float, y: float, fill: str, said: str, **data: str) -> str:
        x = PLOT_LEFT + (start_s - self.origin_s) * self.scale
        width = max((end_s - start_s) * self.scale, THINNEST)
        height = self.layout.phase - 1 if self.layout.named else self.layout.phase
        edge = {"stroke": palette.CARD, "stroke_width": 0.6} if width > 3 else {}
        return element("rect", *tip(said, self.hover), x=x, y=y, width=width, height=height, fill=fill, **data, **edge)

    def _fits(self, phase: Phase) -> bool:
        width = (phase.end_s - phase.start_s) * self.scale
        return self.layout.named and text_width(phase.name, NAME_SIZE) + 8 < width


def _by_level(placed: list[tuple[int, Phase]], levels: int) -> list[list[Phase]]:
    return [[phase for level, phase in placed if level == wanted] for wanted in range(levels)]
