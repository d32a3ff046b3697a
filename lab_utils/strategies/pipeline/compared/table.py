"""Comparison of pipeline schedules: bubble, memory, bytes, time to a loss and MFU, measured and predicted.

Pure: computed from what the ranks recorded and returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab_utils.render.table import Table
from lab_utils.strategies.comparison import Comparison, Ran, Row, compare
from lab_utils.strategies.pipeline.executed_order import Bubble, bubble
from lab_utils.text import bytes_text, percent_text, time_text
from lab_utils.timeline.hardware import Hardware

LAST = -1  # the recorded step that bubbles are of


@dataclass(frozen=True)
class Placed:
    """A schedule's steps in time, measured or predicted; `mfu` as in comparison.OnHardware.

    reached_s   from the start until the loss is reached; None if it never is
    """

    bubble: Bubble
    step_s: float
    reached_s: float | None
    mfu: float


@dataclass(frozen=True)
class ScheduleRow:
    """One schedule.

    shared     what every strategy is compared by
    held       peak of micro-batches whose activations a rank holds, in full stages: the rank that holds most
    measured   by the clock of this machine's ranks, with the MFU that they reach if each is the first hardware's device
    on         hardware name -> prediction
    """

    shared: Row
    held: float
    measured: Placed
    on: Mapping[str, Placed]


@dataclass(frozen=True)
class ComparedSchedules:
    """One row per schedule. `counted` and `on` are the same in every run; `measured` is of this one."""

    rows: tuple[ScheduleRow, ...]
    shared: Comparison

    @property
    def counted(self) -> Table:
        """Steps to the loss, the loss on held-out text, micro-batches held, and bytes sent by the busiest rank."""
        of_all = self.shared.counted
        head = ["schedule", *of_all.header[1:], "held, micro-batches"]
        return Table(head, [[*cells, f"{row.held:g}"] for cells, row in zip(of_all.rows, self.rows, strict=True)])

    def on(self, name: str) -> Table:
        """Predicted on one hardware."""
        return Table(self._header, [_cells(row.shared.name, row.on[name]) for row in self.rows])

    def relative(self, name: str, to: str) -> dict[str, float]:
        """Return schedule -> predicted step time on one hardware, as a multiple of another schedule's."""
        steps_s = {row.shared.name: row.on[name].step_s for row in self.rows}
        return {schedule: step_s / steps_s[to] for schedule, step_s in steps_s.items()}

    @property
    def measured(self) -> Table:
        """The same by the ranks' clock, and the peak bytes of the fullest rank."""
        rows = [[*_cells(row.shared.name, row.measured), bytes_text(row.shared.held_bytes)] for row in self.rows]
        return Table([*self._header, "held"], rows)

    @property
    def _header(self) -> list[str]:
        return ["schedule", "bubble fraction", "bubble rate", "a step", f"to {self.shared.below:g}", "MFU"]

    def __repr__(self) -> str:
        return "\n\n".join(str(table) for table in (self.counted, *map(self.on, self.rows[0].on)))


def compare_schedules(runs: Mapping[str, Ran], below: float, on: Mapping[str, Hardware]) -> ComparedSchedules:
    """Compare schedules as `compare` does strategies; each ran `training.race`.

    >>> compare_schedules({"1F1B": Ran(...)}, below=4.0, on={"10 Gb/s": hardware}).on("10 Gb/s")
    """
    shared = compare(runs, below, on)
    return ComparedSchedules(tuple(_row(runs[row.name], row, shared, on) for row in shared.rows), shared)


def _row(ran: Ran, row: Row, shared: Comparison, on: Mapping[str, Hardware]) -> ScheduleRow:
    predicted = {}
    for name, hardware in on.items():
        its, reached_s = row.on[name], shared.times_s(name).get(row.name)
        predicted[name] = Placed(bubble(ran.few.timeline(hardware), LAST), its.step_s, reached_s, its.mfu)
    step_s = max(result["at_s"][-1] for result in ran.results) / ran.steps
    first = next(iter(predicted.values()))
    measured = Placed(bubble(ran.few, LAST), step_s, row.measured_s, first.mfu * first.step_s / step_s)
    return ScheduleRow(row, max(result["held"] for result in ran.results), measured, predicted)


def _cells(name: str, placed: Placed) -> list[str]:
    reached = "-" if placed.reached_s is None else time_text(placed.reached_s)
    shares = percent_text(placed.bubble.fraction), percent_text(placed.bubble.rate)
    return [name, *shares, time_text(placed.step_s), reached, percent_text(placed.mfu)]
