"""Layout of a timeline picture, in user units; the picture is 900 wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab_utils.timeline.ops import Phase
from lab_utils.timeline.span import LANES
from lab_utils.timeline.timeline import Timeline

WIDTH = 900
MARGIN = 24
PLOT_LEFT, PLOT_RIGHT = 100, 824
HEADER = 84  # title, numbers, and space above the first row
ROWS_HEIGHT = 640  # many ranks share this height


@dataclass(frozen=True)
class Layout:
    """Heights inside one rank's row, from the top: phase bands, own stream, wire tracks, memory; then a gap.

    named   rows are tall enough for words inside phases and marks
    every   every n-th rank is labelled
    """

    ranks: int
    phase_depth: int
    phase: float
    own: float
    wire_tracks: int
    wire: float
    memory: float
    gap: float
    named: bool
    every: int

    @property
    def phases_height(self) -> float:
        return self.phase_depth * self.phase

    @property
    def lanes_height(self) -> float:
        return self.own + (1 if self.wire_tracks else 0) + self.wire + (1 if self.memory else 0) + self.memory

    @property
    def row(self) -> float:
        return self.phases_height + self.lanes_height + self.gap

    @property
    def track(self) -> float:
        return self.wire / max(1, self.wire_tracks)

    @property
    def memory_top(self) -> float:
        """Top of the memory strip, from the top of a row."""
        return self.phases_height + self.lanes_height - self.memory

    @property
    def bottom(self) -> float:
        """Lower edge of the last row, where the axis is drawn."""
        return HEADER + self.ranks * self.row

    def top(self, rank: int) -> float:
        return HEADER + rank * self.row


def layout(timeline: Timeline) -> Layout:
    """Return tall rows with text for up to 8 ranks, thin rows up to 32, and a density beyond."""
    ranks = timeline.world_size
    on_wire = timeline.columns.track[timeline.columns.lane == LANES.index("wire")]
    tracks = int(on_wire.max()) + 1 if len(on_wire) else 0
    depth = max((level + 1 for phases in timeline.phases for level, _ in nested(phases)), default=0)
    if ranks <= 8:
        wire = min(36, max(9, 6 * tracks)) if tracks else 0
        return Layout(ranks, depth, 15, 26, tracks, wire, 14 if timeline.memory else 0, 14, True, 1)
    if ranks <= 32:
        wire = min(9, 3 + 2 * tracks) if tracks else 0
        return Layout(ranks, min(depth, 1), 3, 12, tracks, wire, 6 if timeline.memory else 0, 5, False, 1)
    pitch = max(2.0, ROWS_HEIGHT / ranks)
    wire = 0.25 * pitch if tracks and pitch > 4 else 0
    every = max(1, round(16 / pitch))
    return Layout(ranks, 0, 0, 0.85 * pitch - wire, tracks if wire else 0, wire, 0, 0.15 * pitch, False, every)


def nested(phases: Sequence[Phase]) -> list[tuple[int, Phase]]:
    """Return (level, phase) sorted by start: level 0 is outermost, a phase inside n others has level n."""
    open_until: list[float] = []
    placed = []
    for phase in sorted(phases, key=lambda phase: (phase.start_s, -phase.end_s)):
        while open_until and open_until[-1] <= phase.start_s:
            open_until.pop()
        placed.append((len(open_until), phase))
        open_until.append(phase.end_s)
    return placed
