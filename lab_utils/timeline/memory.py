"""How much each rank holds, over the time of a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab_utils.timeline.units import bytes_text

Unit = Literal["bytes", "micro-batches"]


@dataclass(frozen=True, eq=False, slots=True)
class Memory:
    """What one rank holds: held[i] from time_s[i] until time_s[i + 1]; nothing before the first.

    time_s   float64[n], seconds, in order
    held     float64[n], in `unit`: bytes, or micro-batches whose activations wait for their backward
    """

    time_s: np.ndarray
    held: np.ndarray
    unit: Unit

    @classmethod
    def of_changes(cls, time_s: np.ndarray, change: np.ndarray, unit: Unit) -> Memory:
        """From changes at some times, in any order; at one time what is let go comes first."""
        order = np.lexsort((change, time_s))
        return cls(time_s[order], np.cumsum(change[order]), unit)

    @property
    def peak(self) -> float:
        return float(self.held.max()) if len(self.held) else 0.0

    def text(self, held: float) -> str:
        """A number of `held` in words."""
        return bytes_text(round(held)) if self.unit == "bytes" else f"{held:g} micro-batch{'es' if held != 1 else ''}"
