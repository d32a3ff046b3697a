"""Round ticks on a time axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10

from lab_utils.timeline.units import time_unit


@dataclass(frozen=True)
class Axis:
    """Ticks as (seconds, words), and the unit that the words are in."""

    unit: str
    ticks: tuple[tuple[float, str], ...]


def time_axis(makespan_s: float, most: int = 9) -> Axis:
    """Ticks at 0, step, 2 step, ... up to the makespan; at most `most`; step is 1, 2 or 5 × 10^k."""
    size_s, unit = time_unit(makespan_s)
    length = makespan_s / size_s
    if not length:
        return Axis(unit, ((0.0, "0"),))
    power = floor(log10(length)) - 1
    steps = ((factor, exponent) for exponent in (power, power + 1, power + 2) for factor in (1, 2, 5))
    counted = ((f, e, floor(length / (f * 10.0**e) + 1e-9)) for f, e in steps)
    factor, exponent, count = next(found for found in counted if found[2] < most)
    decimals = max(0, -exponent)
    values = [round(k * factor * 10.0**exponent, decimals) for k in range(count + 1)]
    texts = [f"{value:,.{decimals}f}" if value else "0" for value in values]
    return Axis(unit, tuple((value * size_s, text) for value, text in zip(values, texts, strict=True)))
