"""Where communication overtakes computing in a layer that is split over tp; no torch.

Each layer's two pairs of a column and a row layer need a sum over the ranks each way, 8·(n - 1)/n · B·T·C numbers per
rank in all, and n ranks share 72·B·T·C² FLOPs of the matrices. So communication's part falls with the width and rises
with n; where it is half of the time is what `overtakes` finds, for one device and link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lab_utils.render.curve import lines
from lab_utils.render.kit import Picture
from lab_utils.render.table import Table
from lab_utils.strategies.model.paying.scaled import ScaledLayer, Sizes
from lab_utils.text import percent_text, time_text
from lab_utils.timeline.hardware import Hardware

MOST_CHANNELS = 65_536


class Point(NamedTuple):
    """One layer's forward and backward at one width on tp ranks: seconds, of the rank that takes longest.

    exposed_s  blocked on communication; what is hidden behind computing is not in it
    """

    channels: int
    tp: int
    layer_s: float
    compute_s: float
    exposed_s: float

    @property
    def share(self) -> float:
        """Exposed communication as a fraction of the layer's time."""
        return self.exposed_s / self.layer_s


@dataclass(frozen=True)
class Paying:
    """Recorded layers, {tp: layer}, timed for sequences of `tokens` and heads of `head` channels.

    >>> paying = Paying({tp: record_layer(ranks, tp) for tp in (1, 2, 4)})
    >>> paying.overtakes(4, catalogue["H100 node"])            # channels
    >>> paying.table({link.name: Hardware(catalogue["H100-SXM-80GB"], link) for link in catalogue.of(Link).values()})
    >>> paying.picture(catalogue["H100 node"])
    """

    layers: Mapping[int, ScaledLayer]
    tokens: int = 4096
    head: int = 128

    def __post_init__(self) -> None:
        if 1 not in self.layers:
            raise ValueError(
                f"layers of tp = {', '.join(map(str, self.layers)) or 'none'}: tp = 1 is needed to compare"
            )

    def point(self, tp: int, channels: int, hardware: Hardware) -> Point:
        """Return the times at one width. ValueError for a width that is not divisible into heads for each rank."""
        step = self.head * tp
        if channels < step or channels % step:
            near = max(step, round(channels / step) * step)
            raise ValueError(f"{channels} channels are no multiple of {tp} ranks × {self.head} of a head: {near} is")
        timeline = self._layer(tp).at(Sizes(self.tokens, channels, channels // self.head)).timeline(hardware)
        computes = max(timeline.compute_by_rank_s)
        return Point(channels, tp, timeline.makespan_s, computes, max(timeline.exposed_comm_by_rank_s))

    def speed_up(self, tp: int, channels: int, hardware: Hardware) -> float:
        """Return how many times faster tp ranks are than one."""
        return self.point(1, channels, hardware).layer_s / self.point(tp, channels, hardware).layer_s

    def overtakes(self, tp: int, hardware: Hardware, most: int = MOST_CHANNELS) -> int | None:
        """Return the width below which communication takes longer than computing; None if it does at `most` too.

        The smallest multiple of tp heads that computes for longer than it is blocked; found by halving, since the part
        of communication falls with the width.
        """
        step = self.head * tp
        low, high = 0, most // step  # in steps: at low communication takes longer, or there is no such layer
        if self._is_overtaken(tp, high * step, hardware):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._is_overtaken(tp, middle * step, hardware) else (low, middle)
        return high * step

    def table(self, hardware: Mapping[str, Hardware], channels: int = 8192) -> Table:
        """Return per hardware and tp > 1: the width that communication overtakes, and the layer at one width."""
        head = ["hardware", "tp", "overtaken below", f"layer of {channels:,}", "exposed", "times as fast as 1"]
        return Table(head, [self._row(name, on, tp, channels) for name, on in hardware.items() for tp in self._split])

    def picture(
        self, hardware: Hardware, widths: Sequence[int] = (1024, 2048, 4096, 6144, 8192, 12288, 16384)
    ) -> Picture:
        """Draw communication's part of the layer's time over the width, a line per tp."""
        series = {
            f"tp {tp}": [(width, 100 * self.point(tp, width, hardware).share) for width in widths] for tp in self._split
        }
        title = f"Exposed communication of a layer on {hardware.name}"
        return lines(series, title, of="exposed communication", unit="% of the layer's time", along="width")

    @property
    def _split(self) -> list[int]:
        return sorted(tp for tp in self.layers if tp > 1)

    def _layer(self, tp: int) -> ScaledLayer:
        if tp not in self.layers:
            raise ValueError(f"tp = {tp} was not recorded: there are {', '.join(map(str, sorted(self.layers)))}")
        return self.layers[tp]

    def _is_overtaken(self, tp: int, channels: int, hardware: Hardware) -> bool:
        point = self.point(tp, channels, hardware)
        return point.exposed_s > point.compute_s

    def _row(self, name: str, hardware: Hardware, tp: int, channels: int) -> list[str]:
        width, point = self.overtakes(tp, hardware), self.point(tp, channels, hardware)
        below = f"all up to {MOST_CHANNELS:,}" if width is None else f"{width:,} channels"
        faster = f"{self.speed_up(tp, channels, hardware):.2f}"
        return [name, str(tp), below, time_text(point.layer_s), percent_text(point.share), faster]
