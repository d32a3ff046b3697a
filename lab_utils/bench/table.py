"""Format results as a text table and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence

from lab_utils.bench.figures import RATIO, Result, Spread, Target
from lab_utils.host.machine import cores
from lab_utils.text import columns, three_digits

HEAD = ("figure", "median (min–max)", "beside it", "ratio", "wanted", "")
NONE = "–"
SAMPLES_FOR_P90 = 20


def spread(values: Spread | None, unit: str, samples: int = 0) -> str:
    """Format a spread: "4.05 s (3.97–4.31)"; with the ninth decile if there are SAMPLES_FOR_P90 samples."""
    if values is None:
        return NONE
    p90 = f", p90 {three_digits(values.p90)}" if samples >= SAMPLES_FOR_P90 else ""
    return f"{three_digits(values.median)} {unit} ({three_digits(values.low)}–{three_digits(values.high)}{p90})"


def wanted(target: Target | None, unit: str) -> str:
    if target is None:
        return NONE
    return f"≤ {target.most:g} {'×' if target.of == RATIO else unit}"


def compared(result: Result) -> str:
    """Format the ratio of the pairs, with its spread if the target is on the ratio."""
    if result.ratio is None:
        return NONE
    if result.figure.target and result.figure.target.of == RATIO:
        return spread(result.ratio, "×", len(result.samples))
    return f"{three_digits(result.ratio.median)} ×"


def verdict(result: Result) -> str:
    if result.error:
        return f"failed: {result.error}"
    if not result.samples:
        return "not measured"
    return {True: "met", False: "not met", None: NONE}[result.met]


def cells(result: Result) -> tuple[str, ...]:
    figure, samples = result.figure, len(result.samples)
    beside = spread(result.reference, figure.unit) + (f" {figure.reference}" if result.reference else "")
    measured = spread(result.measured, figure.unit, samples)
    return figure.name, measured, beside, compared(result), wanted(figure.target, figure.unit), verdict(result)


def table(results: Sequence[Result]) -> str:
    """One line per figure under a header; below, the descriptions of the figures."""
    rows = [HEAD, *map(cells, results)]
    width = max(len(name) for name, *_ in rows)
    meanings = [f"{result.figure.name:{width}}  {result.figure.description}" for result in results]
    return "\n".join([*columns(rows), "", *meanings])


def machine() -> dict[str, object]:
    """Describe this machine; `load` is the load average of the last minute."""
    packages = ("torch", "ipyparallel")
    return {
        "system": platform.platform(),
        "cores": cores(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def as_json(results: Sequence[Result], on: dict[str, object]) -> dict[str, object]:
    return {"machine": on, "figures": [_one(result) for result in results]}


def _one(result: Result) -> dict[str, object]:
    figure = result.figure
    spreads = {name: getattr(result, name) for name in ("measured", "reference", "ratio")}
    return {
        "name": figure.name,
        "description": figure.description,
        "unit": figure.unit,
        "reference_is": figure.reference,
        "target": {"most": figure.target.most, "of": figure.target.of} if figure.target else None,
        "met": result.met,
        "error": result.error,
        **{name: values and values._asdict() for name, values in spreads.items()},
        "samples": [sample._asdict() for sample in result.samples],
    }
