"""Parity: does a strategy compute what serial training computes? Loss, every gradient, every parameter.

Pure numpy, so the notebook's kernel compares what the ranks sent. The attributes hold exact numbers; the
badge shows the next power of ten above them, at least ROUNDING, so that it is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from lab_utils.render.palette import BLUE, FONT, STRONG, THEME_CARD, THEME_EDGE, THEME_INK, THEME_QUIET_INK

Snapshot = Mapping[str, object]  # {"loss": float, "gradients": {name: array}, "parameters": {name: array}}
ROUNDING = 1e-12
PARTS = ("loss", "gradients", "parameters")


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest difference from serial in one part, and its location.

    max_abs   max |a - b| over all elements of all tensors and ranks
    max_rel   max over tensors and ranks of max |a - b| / max |b|: relative to the tensor's largest element,
              since an element near zero makes any elementwise ratio large
    where     the first tensor and rank whose relative difference is within a hundredth of max_rel
    """

    part: str
    tensors: int
    max_abs: float
    max_rel: float
    where: str

    def __str__(self) -> str:
        counted = "" if self.part == "loss" else f" ({self.tensors} tensors)"
        sizes = f"absolute {bound(self.max_abs)}, relative {bound(self.max_rel)}"
        return f"{self.part}{counted}: {sizes}"


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences of loss, gradients and parameters; `equal` when all relative ones are within tolerance."""

    differences: tuple[Difference, ...]
    ranks: int
    tolerance: float

    @property
    def equal(self) -> bool:
        return all(difference.max_rel <= self.tolerance for difference in self.differences)

    @property
    def verdict(self) -> str:
        """One sentence: equal, or the largest difference and where it is."""
        if self.equal:
            ranks = "1 rank equals" if self.ranks == 1 else f"{self.ranks} ranks equal"
            return f"✓ parity: {ranks} serial (relative difference at most {self.tolerance:g})"
        worst = max(self.differences, key=lambda difference: difference.max_rel)
        differ = "differs" if worst.part == "loss" else "differ"
        return f"✗ no parity: {worst.part} {differ} from serial by {worst.max_rel:.2g} relative, in {worst.where}"

    def __repr__(self) -> str:
        return "\n".join([self.verdict, *(f"  {difference}" for difference in self.differences)])

    def _repr_html_(self) -> str:
        edge = BLUE if self.equal else STRONG
        rows = "".join(f"<div>{escape(str(difference))}</div>" for difference in self.differences)
        card = f"background:{THEME_CARD};border:1px solid {THEME_EDGE};border-left:6px solid {edge};color:{THEME_INK}"
        return (
            f'<div style="{card};border-radius:6px;padding:8px 12px;display:inline-block;font-family:{escape(FONT)}">'
            f'<b>{escape(self.verdict)}</b><div style="color:{THEME_QUIET_INK}">{rows}</div></div>'
        )


def parity(serial: Snapshot, ranks: Sequence[Snapshot], tolerance: float = 1e-10) -> Parity:
    """Compare each rank's snapshot with the serial one. ValueError when their tensors do not match."""
    return Parity(tuple(_difference(part, serial, ranks) for part in PARTS), len(ranks), tolerance)


def _difference(part: str, serial: Snapshot, ranks: Sequence[Snapshot]) -> Difference:
    expected = _tensors(serial, part)
    found = [
        (absolute, relative, f"{name} on rank {rank}")
        for rank, snapshot in enumerate(ranks)
        for name, absolute, relative in _compare(expected, _tensors(snapshot, part), rank)
    ]
    max_rel = max(relative for _, relative, _ in found)
    # If all are off by the same factor, rounding alone would decide which is largest: name the first as large.
    where = next(place for _, relative, place in found if relative >= 0.99 * max_rel)
    return Difference(part, len(expected), max(absolute for absolute, _, _ in found), max_rel, where)


def _tensors(snapshot: Snapshot, part: str) -> Mapping[str, np.ndarray]:
    value = snapshot[part]
    return value if isinstance(value, Mapping) else {part: np.asarray(value)}


def _compare(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray], rank: int):
    if expected.keys() != got.keys():
        odd = sorted(expected.keys() ^ got.keys())
        raise ValueError(f"rank {rank} and serial do not hold the same tensors: {', '.join(odd[:3])}")
    for name, b in expected.items():
        a, b = np.asarray(got[name], dtype=np.float64), np.asarray(b, dtype=np.float64)
        if a.shape != b.shape:
            raise ValueError(f"{name} is {list(a.shape)} on rank {rank} and {list(b.shape)} in serial")
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, checked in the next line
            absolute = float(np.abs(a - b).max(initial=0.0))
        if not math.isfinite(absolute):  # nothing equals a diverged run, not even another diverged run
            yield name, math.inf, math.inf
        else:
            yield name, absolute, absolute / (float(np.abs(b).max(initial=0.0)) or 1.0)


def bound(value: float) -> str:
    """Format the next power of ten above, "< 1e-4" for 3.1e-5; none below ROUNDING, which differs between machines."""
    if not math.isfinite(value):
        return "not a number"
    if value < ROUNDING:
        return f"< {ROUNDING:g}"
    return f"< {10.0 ** (math.floor(math.log10(value)) + 1):g}"
