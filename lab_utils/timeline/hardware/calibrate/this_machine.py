"""This machine as Hardware: its compute and communication, measured on all ranks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lab_utils.text import bytes_text, percent_text, three_digits, time_text
from lab_utils.timeline.hardware.calibrate.on_ranks_compute import (
    SHAPES,
    Shape,
    Took,
    compute_seconds,
    launch_seconds,
)
from lab_utils.timeline.hardware.calibrate.on_ranks_wire import (
    OPS,
    OVERLAPPED_BYTES,
    OVERLAPPED_CHANNELS,
    SIZES_BYTES,
    issue_seconds,
    overlap_seconds,
    wire_seconds,
)
from lab_utils.timeline.hardware.collective_costs import ALGORITHMS, Wire, wire_rows
from lab_utils.timeline.hardware.model import Device, Hardware, Link


def fitted(amounts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Fit non-negative coefficients float64[k], seconds per amount, with amounts @ coefficients ~ seconds.

    amounts float64[t, k], seconds float64[t]. Least squares of the relative errors, so that short times weigh as much
    as long ones. The most negative coefficient is set to 0 and the others are fitted again. ValueError when there are
    fewer times than coefficients, or a time is not above 0.
    """
    amounts, seconds = np.asarray(amounts, np.float64), np.asarray(seconds, np.float64)
    if len(seconds) < amounts.shape[1] or not (seconds > 0).all():
        raise ValueError(
            f"{amounts.shape[1]} numbers are to be fitted on {len(seconds)} times: as many are needed, all above 0 s"
        )
    relative, used = amounts / seconds[:, None], np.arange(amounts.shape[1])
    found = np.zeros(amounts.shape[1])
    while len(used):
        solution = np.linalg.lstsq(relative[:, used], np.ones(len(seconds)), rcond=None)[0]
        if (solution >= 0).all():
            found[used] = solution
            break
        used = np.delete(used, solution.argmin())
    return found


def errors(amounts: np.ndarray, seconds: np.ndarray, found: np.ndarray) -> np.ndarray:
    """float64[t]: relative error of each fitted time."""
    return np.abs(np.asarray(amounts) @ found / np.asarray(seconds) - 1.0)


SMALL = 30  # rounds of the cheap measurements
MOST_ROUNDS = 16  # times `rounds`, on a machine too busy to measure the link's bandwidth
NOISY = 0.25
TINY_S = 1e-15  # a byte at a petabyte a second: faster than any link


class Ranks(Protocol):
    """The interface needed of ranks: their number, and running a function on all of them."""

    size: int

    def run(self, function: Callable, *args: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number: median and quartiles of its samples."""

    name: str
    median: float
    low: float
    high: float
    text: Callable[[float], str]

    @classmethod
    def of(cls, name: str, samples: Iterable[float], text: Callable[[float], str]) -> Figure:
        low, median, high = np.quantile(list(samples), (0.25, 0.5, 0.75))
        return cls(name, float(median), float(low), float(high), text)

    @property
    def spread(self) -> float:
        """Interquartile range relative to the median."""
        return (self.high - self.low) / self.median if self.median else 0.0

    def __str__(self) -> str:
        noisy = f", noisy: ± {self.spread / 2:.0%}" if self.spread > NOISY else ""
        return f"{self.text(self.median)} ({self.text(self.low)} to {self.text(self.high)}{noisy})"


@dataclass(frozen=True, slots=True, repr=False)
class Measured:
    """Hardware, and the figures that it was built from.

    hidden    fraction of the overlappable communication that compute hid: 1 all, 0 none, as where both need the same
              cores. Predictions assume 1
    """

    hardware: Hardware
    figures: tuple[Figure, ...]
    hidden: Figure

    def __repr__(self) -> str:
        width = max(len(figure.name) for figure in (*self.figures, self.hidden))
        return "\n".join(f"{figure.name:{width}}  {figure}" for figure in (*self.figures, self.hidden))


def this_machine(
    ranks: Ranks,
    *,
    rounds: int = 7,
    shapes: Sequence[Shape] = SHAPES,
    ops: Sequence[str] = OPS,
) -> Measured:
    """Measure the machine on which these ranks run.

    >>> measured = this_machine(ranks)
    >>> trace.timeline(measured.hardware)
    >>> measured                              # how noisy each figure was

    rounds   number of measurements; medians are reported
    shapes   of the transformer steps whose kernels are timed
    ops      to fit the link on, with gloo's algorithms: name those of the trace to predict

    ValueError for fewer than 2 ranks, which have no link.
    """
    _require(ranks, ops)
    flops, memory = _compute(ranks, shapes, rounds)
    launch = Figure.of("launch of a kernel", _all(ranks.run(launch_seconds, SMALL)), time_text)
    issue = Figure.of("handing an op over", _all(ranks.run(issue_seconds, SMALL)), time_text)
    latency, bandwidth, off = _link(ranks, ops, rounds)
    about = f"measured on {ranks.size} ranks at once"
    device = Device("this machine", flops.median, memory.median, launch.median, issue.median, source=about)
    link = Link(
        "its wire",
        latency.median,
        bandwidth.median,
        f"{about}, fitted on {', '.join(ops)}",
    )
    figures = (flops, memory, launch, issue, latency, bandwidth, off)
    return Measured(Hardware(device, link, algorithm="gloo"), figures, _hidden(ranks, rounds))


def _require(ranks: Ranks, ops: Sequence[str]) -> None:
    if ranks.size < 2:
        raise ValueError(f"a link is between 2 ranks or more, and this is {ranks.size}: start more")
    if unknown := set(ops) - set(OPS):
        raise ValueError(f"ops={tuple(ops)}: {', '.join(sorted(unknown))} cannot be timed, {', '.join(OPS)} can")
    if not ops:
        raise ValueError("ops is empty: a link is fitted on one op or more")


def _compute(ranks: Ranks, shapes: Sequence[Shape], rounds: int) -> tuple[Figure, Figure]:
    steps: list[dict[str, Took]] = []
    for shape in shapes:
        steps += _all(ranks.run(compute_seconds, shape, rounds))
    products, others = ([step[kind] for step in steps] for kind in ("products", "others"))
    return (
        Figure.of("FLOP/s of matrix products", (each.flops / each.seconds for each in products), _flops_text),
        Figure.of("memory of other kernels", (each.bytes / each.seconds for each in others), _bandwidth_text),
    )


def _link(ranks: Ranks, ops: Sequence[str], rounds: int) -> tuple[Figure, Figure, Figure]:
    """Latency and bandwidth fitted on the means, with their spread over rounds, and the error of the fit.

    Means, as a step is a sum of many ops, some of which find a core busy: a sum of medians would leave that out.
    """
    wires = [Wire(name, size, tuple(range(ranks.size))) for name in ops for size in SIZES_BYTES]
    amounts = wire_rows(wires, None)[:, ALGORITHMS.index("gloo"), :2]
    seconds: list[np.ndarray] = []  # [op × size] of each round
    found = 0.0, 0.0
    while not found[1]:  # on a busy machine more bytes may take no longer in a few rounds
        if len(seconds) >= MOST_ROUNDS * rounds:
            raise RuntimeError(
                f"more bytes took no longer on the wire in {len(seconds)} rounds: this machine is too busy to be "
                "measured, try again"
            )
        by_rank = ranks.run(wire_seconds, ops, SIZES_BYTES, rounds)
        seconds.extend(np.min(by_rank, axis=0))  # the last rank to issue did not wait
        mean_s = np.mean(seconds, axis=0)
        found = fitted(amounts, mean_s)
    latency_s, per_byte_s = np.array([fitted(amounts, each) for each in seconds]).T
    bandwidths = 1 / np.maximum(per_byte_s, TINY_S)  # a round in which bytes took no time has no bandwidth
    return (
        _about("latency of a round", latency_s, found[0], time_text),
        _about("bandwidth of the link", bandwidths, 1 / found[1], _bandwidth_text),
        Figure.of("an op is off the fit by", errors(amounts, mean_s, found), percent_text),
    )


def _about(name: str, samples: np.ndarray, value: float, text: Callable[[float], str]) -> Figure:
    """A figure with the value of all samples together and the quartiles of the single ones."""
    low, high = np.quantile(samples, (0.25, 0.75))
    return Figure(name, float(value), float(min(low, value)), float(max(high, value)), text)


def _hidden(ranks: Ranks, rounds: int) -> Figure:
    by_rank = np.array(ranks.run(overlap_seconds, OVERLAPPED_BYTES, OVERLAPPED_CHANNELS, rounds))
    wire_s, compute_s, both_s = by_rank.max(axis=0).T
    saved = (wire_s + compute_s - both_s) / np.minimum(wire_s, compute_s)
    return Figure.of("hidden behind computing", np.clip(saved, 0, 1), percent_text)


def _all(by_rank: Iterable[list]) -> list:
    return [sample for of_rank in by_rank for sample in of_rank]


def _flops_text(flops_per_s: float) -> str:
    return f"{three_digits(flops_per_s / 1e9)} GFLOP/s"


def _bandwidth_text(bytes_per_s: float) -> str:
    return f"{bytes_text(round(bytes_per_s))}/s"
