"""Parity: does a strategy compute what serial training computes? Loss, every gradient, every parameter.

Pure numpy, so the notebook's kernel compares what the ranks sent. The attributes hold exact numbers; the
badge shows the next power of ten above them, at least ROUNDING, so that it is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Real

import numpy as np

from lab_utils.render.palette import BLUE, FONT, STRONG, THEME_CARD, THEME_EDGE, THEME_INK, THEME_QUIET_INK
from lab_utils.text import counted, verb

Snapshot = Mapping[str, object]  # {"loss": float, "gradients": {name: array}, "parameters": {name: array}}
ROUNDING = 1e-12
PARTS = ("loss", "gradients", "parameters")
ROUNDED = 1e-4  # what float32's rounding adds up to in a step, at most
FLOAT32 = (
    "all tensors are float32, which rounds at 1e-7, and the tolerance {tolerance:g} is for float64: "
    "compare in float64 (model.double()), or give tolerance=1e-4, which hides small mistakes"
)
_FACTOR_OFF = 0.005  # what two decimals do not show


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest difference from serial in one part, and its location.

    max_abs   max |a - b| over all elements of all tensors and ranks
    max_rel   max over tensors and ranks of max |a - b| / max |b|: relative to the tensor's largest element,
              since an element near zero makes any elementwise ratio large
    where     the first tensor and rank whose relative difference is within a hundredth of max_rel
    factor    k if that tensor is a gradient and k × serial's, to half a percent; else None
    """

    part: str
    tensors: int
    max_abs: float
    max_rel: float
    where: str
    factor: float | None = None

    def __str__(self) -> str:
        tensors = "" if self.part == "loss" else f" ({counted(self.tensors, 'tensor')})"
        sizes = f"absolute {bound(self.max_abs)}, relative {bound(self.max_rel)}"
        return f"{self.part}{tensors}: {sizes}"


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences of loss, gradients and parameters; `equal` when all relative ones are within tolerance."""

    differences: tuple[Difference, ...]
    ranks: int
    tolerance: float
    single: bool = False  # all tensors are float32, which a tolerance for float64 is too small for

    @property
    def equal(self) -> bool:
        return all(difference.max_rel <= self.tolerance for difference in self.differences)

    @property
    def verdict(self) -> str:
        """One sentence: equal, or the largest difference and where it is."""
        if self.equal:
            ranks = f"{counted(self.ranks, 'rank')} {verb(self.ranks, 'equal')}"
            return f"✓ parity: {ranks} serial (relative difference at most {self.tolerance:g})"
        worst = max(self.differences, key=lambda difference: difference.max_rel)
        if worst.factor is not None:
            return f"✗ no parity: {worst.part} are {worst.factor:.2f} × serial, in {worst.where}"
        differ = "differs" if worst.part == "loss" else "differ"
        return f"✗ no parity: {worst.part} {differ} from serial by {worst.max_rel:.2g} relative, in {worst.where}"

    @property
    def advice(self) -> str:
        """What to do where float32's rounding may be all of the difference; "" elsewhere."""
        worst = max(difference.max_rel for difference in self.differences)
        return FLOAT32.format(tolerance=self.tolerance) if self.single and self.tolerance < worst <= ROUNDED else ""

    def __repr__(self) -> str:
        lines = [*map(str, self.differences), *filter(None, [self.advice])]
        return "\n".join([self.verdict, *(f"  {line}" for line in lines)])

    def _repr_html_(self) -> str:
        edge = BLUE if self.equal else STRONG
        lines = [*map(str, self.differences), *filter(None, [self.advice])]
        rows = "".join(f"<div>{escape(line)}</div>" for line in lines)
        card = f"background:{THEME_CARD};border:1px solid {THEME_EDGE};border-left:6px solid {edge};color:{THEME_INK}"
        return (
            f'<div style="{card};border-radius:6px;padding:8px 12px;display:inline-block;font-family:{escape(FONT)}">'
            f'<b>{escape(self.verdict)}</b><div style="color:{THEME_QUIET_INK}">{rows}</div></div>'
        )


def parity(serial: Snapshot, ranks: Sequence[Snapshot], tolerance: float = 1e-10) -> Parity:
    """Compare each rank's snapshot with the serial one. ValueError, a sentence, when that is not what they are.

    tolerance   of relative differences, for float64; in float32 a right step differs by about 1e-6
    """
    _check(serial, ranks, tolerance)
    single = all(_is_float32(value) for each in (serial, *ranks) for value in _tensors(each, "parameters").values())
    return Parity(tuple(_difference(part, serial, ranks) for part in PARTS), len(ranks), tolerance, single)


def _is_float32(value: object) -> bool:
    return str(getattr(value, "dtype", "")).endswith("float32")  # of numpy or of torch


def _check(serial: object, ranks: object, tolerance: object) -> None:
    if isinstance(ranks, Mapping) or not isinstance(ranks, Sequence) or isinstance(ranks, str):
        raise ValueError(f"parity compares serial with a list of one snapshot per rank, and got {_called(ranks)}")
    if not ranks:
        raise ValueError("parity compares serial with a list of one snapshot per rank, and the list is empty")
    for name, snapshot in (("serial", serial), *((f"rank {rank}", each) for rank, each in enumerate(ranks))):
        if not isinstance(snapshot, Mapping):
            raise ValueError(f"{name} is {_called(snapshot)}: a snapshot is a dict with {', '.join(PARTS)}")
        if lacks := [part for part in PARTS if part not in snapshot]:
            raise ValueError(f"{name} has no {' and no '.join(lacks)}: a snapshot is a dict with {', '.join(PARTS)}")
    if not isinstance(tolerance, Real) or not tolerance >= 0:
        raise ValueError(f"tolerance={tolerance!r}: it must be a number from 0 up, such as 1e-10")


def _called(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _difference(part: str, serial: Snapshot, ranks: Sequence[Snapshot]) -> Difference:
    expected = _tensors(serial, part)
    found = [each for rank, snapshot in enumerate(ranks) for each in _compare(part, expected, snapshot, rank)]
    if not found:
        raise ValueError(f"serial has no tensors in its {part}, so there is nothing to compare")
    max_rel = max(relative for _, relative, _, _ in found)
    # If all are off by the same factor, rounding alone would decide which is largest: name the first as large.
    where, factor = next((place, factor) for _, relative, place, factor in found if relative >= 0.99 * max_rel)
    return Difference(part, len(expected), max(absolute for absolute, *_ in found), max_rel, where, factor)


def _tensors(snapshot: Snapshot, part: str) -> Mapping[str, object]:
    value = snapshot[part]
    return value if isinstance(value, Mapping) else {part: value}


def _compare(part: str, expected: Mapping[str, object], snapshot: Snapshot, rank: int):
    """Yield absolute and relative difference, place and factor of each tensor of the rank."""
    got = _tensors(snapshot, part)
    if expected.keys() != got.keys():
        odd = sorted(map(str, expected.keys() ^ got.keys()))
        raise ValueError(f"rank {rank} and serial do not hold the same tensors: {', '.join(odd[:3])}")
    for name, value in expected.items():
        a, b = _numbers(got[name], name, f"on rank {rank}"), _numbers(value, name, "in serial")
        if a.shape != b.shape:
            raise ValueError(f"{name} is {list(a.shape)} on rank {rank} and {list(b.shape)} in serial")
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, checked in the next line
            absolute = float(np.abs(a - b).max(initial=0.0))
        place = f"{name} on rank {rank}"
        if not math.isfinite(absolute):  # nothing equals a diverged run, not even another diverged run
            yield math.inf, math.inf, place, None
        else:
            relative = absolute / (float(np.abs(b).max(initial=0.0)) or 1.0)
            yield absolute, relative, place, _factor(a, b) if part == "gradients" else None


def _numbers(value: object, name: str, where: str) -> np.ndarray:
    if value is None:
        raise ValueError(f"{name} is None {where}: it has no tensor to compare")
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is {_called(value)} {where}, and no tensor of real numbers") from error


def _factor(found: np.ndarray, expected: np.ndarray) -> float | None:
    """Return k if found is k × expected in every element, and k is not 1; None otherwise, and for a single number."""
    largest = float(np.abs(expected).max(initial=0.0))
    if expected.size < 2 or not largest:
        return None
    at = np.abs(expected).argmax()
    factor = float(found.flat[at] / expected.flat[at])
    off = float(np.abs(found - factor * expected).max()) / largest
    is_factor = off <= _FACTOR_OFF * abs(factor) and abs(factor - 1) > _FACTOR_OFF
    return factor if is_factor and abs(factor) >= 0.01 else None  # below, it is no factor that a program forgot


def bound(value: float) -> str:
    """Format the next power of ten above, "< 1e-4" for 3.1e-5; none below ROUNDING, which differs between machines."""
    if not math.isfinite(value):
        return "not a number"
    if value < ROUNDING:
        return f"< {ROUNDING:g}"
    return f"< {10.0 ** (math.floor(math.log10(value)) + 1):g}"
