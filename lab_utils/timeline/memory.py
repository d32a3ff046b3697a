"""Memory per rank over the time of a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab_utils.text import bytes_text
from lab_utils.timeline.ops import Op
from lab_utils.timeline.span import ACTIVITIES, LANES, Spans

Unit = Literal["bytes", "micro-batches"]


@dataclass(frozen=True, eq=False, slots=True)
class Memory:
    """Memory of one rank: held[i] from time_s[i] until time_s[i + 1]; 0 before the first.

    time_s   float64[n], seconds, sorted
    held     float64[n], in `unit`: bytes, or micro-batches whose activations wait for their backward
    """

    time_s: np.ndarray
    held: np.ndarray
    unit: Unit

    @classmethod
    def of_changes(cls, time_s: np.ndarray, change: np.ndarray, unit: Unit) -> Memory:
        """Build from changes in any order; at equal times, frees come before allocations."""
        order = np.lexsort((change, time_s))
        return cls(time_s[order], np.cumsum(change[order]), unit)

    @property
    def peak(self) -> float:
        return float(self.held.max()) if len(self.held) else 0.0

    def text(self, held: float) -> str:
        """Format a value of `held` with its unit."""
        return bytes_text(round(held)) if self.unit == "bytes" else f"{held:g} micro-batch{'es' if held != 1 else ''}"


def memory_of_spans(spans: Spans, world_size: int, predicted: bool = False) -> tuple[Memory, ...] | None:
    """Memory per rank from ops with `live_bytes`: how it rises in each, then what is live at its end. None without any.

    Where an op's rises were not recorded, its peak lasts from its start. A predicted op has each after its part of the
    kernels, a measured one after its part of the time.
    """
    c = spans.columns
    computes = (c.lane == LANES.index("own")) & (c.activity == ACTIVITIES.index("compute"))
    telling = [at for at in np.flatnonzero(computes).tolist() if spans.ops[c.op[at]].live_bytes is not None]
    if not telling:
        return None
    steps: list[tuple[list[float], list[float]]] = [([], []) for _ in range(world_size)]
    columns = (c.rank[telling], c.start_s[telling], c.end_s[telling], c.op[telling])
    for rank, start_s, end_s, at in zip(*(column.tolist() for column in columns), strict=True):
        time_s, held = steps[rank]
        for part, size in rises_of(spans.ops[at], predicted):
            time_s.append(start_s + part * (end_s - start_s))
            held.append(size)
        time_s.append(end_s)
        held.append(spans.ops[at].live_bytes)
    return tuple(Memory(np.array(time_s), np.array(held, float), "bytes") for time_s, held in steps)


def rises_of(op: Op, predicted: bool) -> list[tuple[float, int]]:
    """Return (part of the op's duration, bytes from then on) of a compute op, the first at 0."""
    if not op.rises:
        return [(0.0, op.live_bytes if op.peak_bytes is None else op.peak_bytes)]
    return [(rise.kernels if predicted else rise.time, rise.bytes) for rise in op.rises]
