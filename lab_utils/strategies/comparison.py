"""Strategies side by side: how soon each reaches a loss, what it sends and holds, and what that is on other hardware.

Pure: made from what the ranks recorded and returned. A step's numbers come from two recordings, of a few steps and of
none, so that getting ready does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite

import numpy as np

from lab_utils.render.table import Table
from lab_utils.text import bytes_text, percent_text, time_text
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Hardware
from lab_utils.timeline.simulator.traffic import sent_bytes
from lab_utils.timeline.timeline import Timeline

SMOOTH = 8  # steps: a batch's loss jumps, their mean does not
NOT_TRAINING = "evaluate"  # a phase whose ops do not count for what a rank holds


@dataclass(frozen=True)
class Ran:
    """What one strategy did.

    ready     recorded: no step; `few` recorded: so many steps as `few_steps` says
    results   of a long run, one for each rank: {"losses": of each step, or None where the rank has none,
              "at_s": when each was over, in seconds, "held_out": loss}
    steps     of the long run; where there are several losses a step, they follow one another
    """

    ready: Trace
    few: Trace
    few_steps: int
    results: Sequence[Mapping]
    steps: int


@dataclass(frozen=True)
class OnHardware:
    """Predicted: seconds of a step, and of these, as parts: communication that a rank waits for; and useful FLOPs.

    exposed   exposed communication / a step's time, mean over the ranks
    mfu       model FLOPs utilisation: FLOPs of all ranks / (ranks × a step's time × the device's FLOP/s). Chowdhery
              et al. 2022, "PaLM" (arXiv 2204.02311), section 4.1; activations that are computed again are counted, too
    """

    step_s: float
    exposed: float
    mfu: float


@dataclass(frozen=True)
class Row:
    """One strategy.

    steps        until the smoothed loss was below the given one; None: it was not, in as many steps as it ran
    measured_s   and seconds, on the ranks of this machine
    held_out     loss on held-out text after all steps
    sent_bytes   by the rank that sends most, in a step, with rings
    held_bytes   by the rank that holds most, at its highest: tensors of every kind
    on           name of the hardware → what is predicted
    """

    name: str
    steps: int | None
    measured_s: float | None
    held_out: float
    sent_bytes: float
    held_bytes: int
    on: Mapping[str, OnHardware]


@dataclass(frozen=True)
class Comparison:
    """A row for each strategy. `repr` has what is the same on every run; `measured` what this one took and held."""

    rows: tuple[Row, ...]
    below: float

    @property
    def counted(self) -> Table:
        """Steps to the loss, the loss on held-out text, and the bytes that the busiest rank sends."""
        head = ["strategy", f"steps to {self.below:g}", "held-out loss", "sent a step"]
        return Table(head, [self._counted(row) for row in self.rows])

    @property
    def predicted(self) -> Table:
        """On each hardware: a step, the steps to the loss, exposed communication, utilisation."""
        head = [f"{name}: {what}" for name in self.rows[0].on for what in ("a step", "to the loss", "exposed", "MFU")]
        return Table(["strategy", *head], [self._predicted(row) for row in self.rows])

    @property
    def measured(self) -> Table:
        """Seconds to the loss on this machine's ranks, which share its cores; and what the fullest rank held."""
        took = ["-" if row.measured_s is None else time_text(row.measured_s) for row in self.rows]
        rows = [[row.name, time, bytes_text(row.held_bytes)] for row, time in zip(self.rows, took, strict=True)]
        return Table(["strategy", f"measured, to {self.below:g}", "held"], rows)

    def times_s(self, name: str) -> dict[str, float]:
        """Strategy → predicted seconds to the loss on this hardware; without those that did not reach it."""
        return {row.name: row.steps * row.on[name].step_s for row in self.rows if row.steps is not None}

    def _counted(self, row: Row) -> list[str]:
        steps = "-" if row.steps is None else str(row.steps)
        return [row.name, steps, f"{row.held_out:.2f}", bytes_text(round(row.sent_bytes))]

    def _predicted(self, row: Row) -> list[str]:
        cells = [row.name]
        for name, on in row.on.items():
            reached = time_text(self.times_s(name)[row.name]) if row.steps is not None else "-"
            cells += [time_text(on.step_s), reached, percent_text(on.exposed), percent_text(on.mfu)]
        return cells

    def __repr__(self) -> str:
        return f"{self.counted}\n\n{self.predicted}"

    def _repr_html_(self) -> str:
        return f"{self.counted._repr_html_()}<br>{self.predicted._repr_html_()}"


def compare(runs: Mapping[str, Ran], below: float, on: Mapping[str, Hardware]) -> Comparison:
    """Compare strategies by the steps and the time until the loss, meaned over SMOOTH steps, is below `below`.

    >>> compare({"flat": Ran(...), "buckets": Ran(...)}, below=3.0, on={"10 Gb/s": hardware})

    Times to that loss are predicted steps times a predicted step. ValueError without strategies, or for hardware
    without a device.
    """
    if not runs:
        raise ValueError("there is nothing to compare: give at least one strategy that ran")
    if none := [name for name, hardware in on.items() if hardware.device is None]:
        raise ValueError(f"{none[0]} has no device: a step's time on it could not be predicted")
    return Comparison(tuple(_row(name, ran, below, on) for name, ran in runs.items()), below)


def _row(name: str, ran: Ran, below: float, on: Mapping[str, Hardware]) -> Row:
    losses, at_s = _losses(ran), _at_s(ran)
    steps = _reached(losses, below)
    return Row(
        name,
        steps,
        None if steps is None else at_s[steps - 1],
        ran.results[0]["held_out"],
        float((sent_bytes(ran.few) - sent_bytes(ran.ready)).max() / ran.few_steps),
        max(op.peak_bytes for op in ran.few if op.peak_bytes is not None and op.phase != NOT_TRAINING),
        {link: _on(ran, hardware) for link, hardware in on.items()},
    )


def _losses(ran: Ran) -> np.ndarray:
    """float64[steps]: of each step's whole batch."""
    told = [result["losses"] for result in ran.results if result["losses"] is not None]
    return np.mean([np.reshape(losses, (ran.steps, -1)).mean(axis=1) for losses in told], axis=0)


def _at_s(ran: Ran) -> np.ndarray:
    """float64[steps]: when the last rank was done with each."""
    told = [result["at_s"] for result in ran.results if result["losses"] is not None]
    return np.max([np.reshape(at_s, (ran.steps, -1)).max(axis=1) for at_s in told], axis=0)


def _reached(losses: np.ndarray, below: float) -> int | None:
    """After how many steps the mean of the last SMOOTH losses is below."""
    if len(losses) < SMOOTH:
        return None
    smooth = np.convolve(losses, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    found = np.flatnonzero(smooth < below)
    return int(found[0]) + SMOOTH if len(found) else None


def _on(ran: Ran, hardware: Hardware) -> OnHardware:
    few, ready = ran.few.timeline(hardware), ran.ready.timeline(hardware)
    step_s = (few.makespan_s - ready.makespan_s) / ran.few_steps
    exposed_s = (few.exposed_comm_s - ready.exposed_comm_s) / ran.few_steps
    flops = (_flops(few) - _flops(ready)) / ran.few_steps
    available = ran.few.world_size * step_s * hardware.device.flops_per_s
    parts = exposed_s / step_s, flops / available
    if not all(map(isfinite, parts)):
        raise ValueError(f"a step takes {step_s} s on {hardware.name}: record at least one, and count its kernels")
    return OnHardware(step_s, *parts)


def _flops(timeline: Timeline) -> float:
    return fsum(op.flops for op in timeline.ops)
