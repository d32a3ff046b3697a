"""Memory per rank over the time of a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from lab_utils.text import bytes_text
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


def memory_of_spans(spans: Spans, world_size: int) -> tuple[Memory, ...] | None:
    """Memory per rank from ops with `live_bytes`: peak during each, then what is live at its end. None without any."""
    c = spans.columns
    computes = (c.lane == LANES.index("own")) & (c.activity == ACTIVITIES.index("compute"))
    telling = [at for at in np.flatnonzero(computes).tolist() if spans.ops[c.op[at]].live_bytes is not None]
    if not telling:
        return None
    ops = [spans.ops[number] for number in c.op[telling].tolist()]
    time_s = np.stack((c.start_s[telling], c.end_s[telling]), axis=1)
    held = np.array([(op.live_bytes if op.peak_bytes is None else op.peak_bytes, op.live_bytes) for op in ops], float)
    cuts = np.searchsorted(c.rank[telling], np.arange(world_size + 1))
    parts = (slice(a, b) for a, b in pairwise(cuts.tolist()))
    return tuple(Memory(time_s[part].ravel(), held[part].ravel(), "bytes") for part in parts)
