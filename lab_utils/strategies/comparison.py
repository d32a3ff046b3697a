"""Comparison of strategies: time to a loss, bytes sent, memory, and the same predicted for other hardware.

Pure: computed from what the ranks recorded and returned. Numbers per step are the difference of two recordings, of a
few steps and of none, so that setup does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import fsum, isfinite

import numpy as np

from lab_utils.render.table import Table
from lab_utils.text import bytes_text, percent_text, time_text
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Hardware
from lab_utils.timeline.simulator.sent_bytes import sent_bytes
from lab_utils.timeline.timeline import Timeline

SMOOTH = 8  # steps to average over: the loss of a single batch is noisy
NOT_TRAINING = "evaluate"  # a phase whose ops do not count towards peak memory


@dataclass(frozen=True)
class Ran:
    """The runs of one strategy.

    ready     recorded without a step; `few` recorded over `few_steps` steps
    results   of a long run, one per rank: {"losses": of each step, or None where the rank has none,
              "at_s": when each ended, in seconds, "held_out": loss, "step_flops": of a serial step}
    steps     of the long run; with several losses per step, they follow one another
    """

    ready: Trace
    few: Trace
    few_steps: int
    results: Sequence[Mapping]
    steps: int


@dataclass(frozen=True)
class OnHardware:
    """Predicted seconds per step; as fractions, exposed communication, waiting and model FLOPs utilisation.

    exposed   time blocked on communication in flight / step time, mean over the ranks
    waiting   time blocked because a partner has not entered / step time, mean over the ranks
    mfu       model FLOPs utilisation: FLOPs of a serial step / (ranks * step time * device FLOP/s), whatever else the
              strategy computes. Chowdhery et al. 2022, "PaLM" (arXiv 2204.02311), section 4.1
    """

    step_s: float
    exposed: float
    waiting: float
    mfu: float


@dataclass(frozen=True)
class Row:
    """One strategy.

    steps        until the smoothed loss was below the threshold; None if it never was
    measured_s   the same in seconds, on the ranks of this machine
    held_out     loss on held-out text after all steps
    sent_bytes   per step, by the rank that sends most, with rings
    held_bytes   peak of the rank that holds most: tensors of every kind
    on           hardware name -> prediction
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
    """One row per strategy. `repr` shows what every run reproduces; `measured` the time and memory of this run."""

    rows: tuple[Row, ...]
    below: float

    @property
    def counted(self) -> Table:
        """Steps to the loss, the loss on held-out text, and the bytes sent by the busiest rank."""
        head = ["strategy", f"steps to {self.below:g}", "held-out loss", "sent a step"]
        return Table(head, [self._counted(row) for row in self.rows])

    def report(self, name: str) -> Table:
        """One hardware: seconds per step and to the loss, exposed communication, waiting, MFU, and held-out loss."""
        head = ["strategy", "per step", "exposed", "waiting", "MFU", f"to {self.below:g}", "held-out loss"]
        return Table(head, [self._reported(row, name) for row in self.rows])

    @property
    def measured(self) -> Table:
        """Seconds to the loss on this machine's ranks, which share its cores; and peak bytes of the fullest rank."""
        took = ["-" if row.measured_s is None else time_text(row.measured_s) for row in self.rows]
        rows = [[row.name, time, bytes_text(row.held_bytes)] for row, time in zip(self.rows, took, strict=True)]
        return Table(["strategy", f"measured, to {self.below:g}", "held"], rows)

    def times_s(self, name: str) -> dict[str, float]:
        """Return strategy -> predicted seconds to the loss on this hardware, without those that did not reach it."""
        return {row.name: row.steps * row.on[name].step_s for row in self.rows if row.steps is not None}

    def _counted(self, row: Row) -> list[str]:
        steps = "-" if row.steps is None else str(row.steps)
        return [row.name, steps, f"{row.held_out:.2f}", bytes_text(round(row.sent_bytes))]

    def _reported(self, row: Row, name: str) -> list[str]:
        on, reached = row.on[name], "-" if row.steps is None else time_text(self.times_s(name)[row.name])
        parts = (percent_text(each) for each in (on.exposed, on.waiting, on.mfu))
        return [row.name, time_text(on.step_s), *parts, reached, f"{row.held_out:.2f}"]

    def __repr__(self) -> str:
        reports = (f"{name}\n{self.report(name)}" for name in self.rows[0].on)
        return "\n\n".join([repr(self.counted), *reports])

    def _repr_html_(self) -> str:
        reports = (f"<p>{escape(name)}</p>{self.report(name)._repr_html_()}" for name in self.rows[0].on)
        return self.counted._repr_html_() + "".join(reports)


def compare(runs: Mapping[str, Ran], below: float, on: Mapping[str, Hardware]) -> Comparison:
    """Compare strategies by steps and time until the loss, averaged over SMOOTH steps, is below `below`.

    >>> compare({"flat": Ran(...), "buckets": Ran(...)}, below=3.0, on={"10 Gb/s": hardware})

    The predicted time to that loss is the number of steps times a predicted step. ValueError without strategies, for
    hardware without a device, or for runs that were not judged.
    """
    if not runs:
        raise ValueError("there is nothing to compare: give at least one strategy that ran")
    if none := [name for name, hardware in on.items() if hardware.device is None]:
        raise ValueError(f"{none[0]} has no device: a step's time on it could not be predicted")
    if unjudged := [name for name, ran in runs.items() if {"held_out", "step_flops"} & _none(ran.results[0])]:
        raise ValueError(
            f"{unjudged[0]} ran with judge=False: its loss on held-out text and the FLOPs of a serial step are not "
            "known, so run it with judge=True"
        )
    return Comparison(tuple(_row(name, ran, below, on) for name, ran in runs.items()), below)


def _none(result: Mapping) -> set[str]:
    return {name for name, value in result.items() if value is None}


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
    """Return the loss of each step's whole batch: float64[steps]."""
    told = [result["losses"] for result in ran.results if result["losses"] is not None]
    return np.mean([np.reshape(losses, (ran.steps, -1)).mean(axis=1) for losses in told], axis=0)


def _at_s(ran: Ran) -> np.ndarray:
    """Return when the last rank finished each step: float64[steps]."""
    told = [result["at_s"] for result in ran.results if result["losses"] is not None]
    return np.max([np.reshape(at_s, (ran.steps, -1)).max(axis=1) for at_s in told], axis=0)


def _reached(losses: np.ndarray, below: float) -> int | None:
    """Return after how many steps the mean of the last SMOOTH losses is below."""
    if len(losses) < SMOOTH:
        return None
    smooth = np.convolve(losses, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    found = np.flatnonzero(smooth < below)
    return int(found[0]) + SMOOTH if len(found) else None


def _on(ran: Ran, hardware: Hardware) -> OnHardware:
    few, ready = ran.few.timeline(hardware), ran.ready.timeline(hardware)
    step_s = (few.makespan_s - ready.makespan_s) / ran.few_steps
    exposed_s = (few.exposed_comm_s - ready.exposed_comm_s) / ran.few_steps
    waiting_s = (_waiting_s(few) - _waiting_s(ready)) / ran.few_steps
    available = ran.few.world_size * step_s * hardware.device.flops_per_s
    parts = exposed_s / step_s, waiting_s / step_s, ran.results[0]["step_flops"] / available
    if not all(map(isfinite, parts)):
        raise ValueError(f"a step takes {step_s} s on {hardware.name}: record at least one, and count its kernels")
    return OnHardware(step_s, *parts)


def _waiting_s(timeline: Timeline) -> float:
    return fsum(timeline.waiting_by_rank_s) / timeline.world_size
