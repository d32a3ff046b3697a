"""The memory strip below a rank's lanes: bytes or activations held, as an area over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lab_utils.render import palette
from lab_utils.render.kit import element, number, text, tip
from lab_utils.timeline.memory import Memory
from lab_utils.widgets.timeline_view.layout import MARGIN, PLOT_LEFT, PLOT_RIGHT, WIDTH
from lab_utils.widgets.timeline_view.words import AT_MOST, MEMORY, MEMORY_OF_RANK

FINEST = 0.5  # user units: of the values within this width the largest is drawn


class Strips:
    """Draws the memory of all ranks on one vertical scale; `scale` is in user units per second."""

    def __init__(self, memory: Sequence[Memory], origin_s: float, scale: float, hover: bool) -> None:
        self.memory, self.origin_s, self.scale, self.hover = memory, origin_s, scale, hover
        self.most = max((each.peak for each in memory), default=0.0) or 1.0

    def strip(self, rank: int, top: float, height: float, named: bool) -> Iterator[str]:
        memory = self.memory[rank]
        ground = {"x": PLOT_LEFT, "y": top, "width": PLOT_RIGHT - PLOT_LEFT, "height": height}
        yield element("rect", **ground, fill=palette.LANE)
        peak = memory.text(memory.peak)
        said = MEMORY_OF_RANK.format(rank=rank, peak=peak)
        path = self._path(memory, top + height, height / self.most)
        yield element("path", *tip(said, self.hover), d=path, fill=palette.MEMORY, data_memory=str(rank))
        if named:
            base = top + height / 2 + 3.5
            quiet = {"fill": palette.QUIET_INK, "font_size": 10}
            yield text(MEMORY, MARGIN, base, **quiet)
            short = peak if memory.unit == "bytes" else AT_MOST.format(peak=f"{memory.peak:g}")
            yield text(short, WIDTH - MARGIN, base, text_anchor="end", **quiet)

    def _path(self, memory: Memory, bottom: float, unit: float) -> str:
        """Return steps from the first time to the right edge of the plot."""
        x, held = _coarse((memory.time_s - self.origin_s) * self.scale, memory.held)
        steps = "".join(
            f"H{number(PLOT_LEFT + at)}V{number(bottom - value * unit)}"
            for at, value in zip(x.tolist(), held.tolist(), strict=True)
        )
        return f"M{PLOT_LEFT} {number(bottom)}{steps}H{PLOT_RIGHT}V{number(bottom)}Z"


def _coarse(x: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce to one step per FINEST: the largest value within it, then the value at its end."""
    if not len(x):
        return x, held
    cell = np.floor(x / FINEST)
    first = np.flatnonzero(np.concatenate(([True], np.diff(cell) > 0)))
    if len(first) == len(x):
        return x, held
    most = np.maximum.reduceat(held, first)
    last = np.concatenate((first[1:] - 1, [len(x) - 1]))
    then = np.minimum(x[first] + FINEST, np.append(x[first[1:]], np.inf))
    return np.stack((x[first], then), axis=1).ravel(), np.stack((most, held[last]), axis=1).ravel()
