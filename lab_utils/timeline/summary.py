"""A timeline in words, for terminals, screen readers and text outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab_utils.timeline.units import percent_text, time_text

if TYPE_CHECKING:
    from lab_utils.timeline.timeline import Timeline

COLUMNS = ("rank", "compute", "communication", "waiting", "idle", "bubble")
RANKS_SHOWN = 32


def headline(timeline: Timeline) -> str:
    """One sentence with the three numbers."""
    ranks = "1 rank" if timeline.world_size == 1 else f"{timeline.world_size} ranks"
    return (
        f"Timeline of {ranks} ({timeline.kind}): makespan {time_text(timeline.makespan_s)}, "
        f"bubble fraction {percent_text(timeline.bubble_fraction)}, "
        f"exposed communication {time_text(timeline.exposed_comm_s)} a rank on average."
    )


def summary(timeline: Timeline) -> str:
    """The headline, and a table with a line a rank; bubble is the share of its time without compute."""
    lines = [COLUMNS, *(_row(timeline, rank) for rank in range(min(timeline.world_size, RANKS_SHOWN)))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    more = timeline.world_size - RANKS_SHOWN
    return "\n".join([headline(timeline), *table, *([f"and {more} more ranks"] if more > 0 else [])])


def _row(timeline: Timeline, rank: int) -> tuple[str, ...]:
    compute_s = timeline.compute_by_rank_s[rank]
    parts = (
        compute_s,
        timeline.exposed_comm_by_rank_s[rank],
        timeline.waiting_by_rank_s[rank],
        timeline.idle_by_rank_s[rank],
    )
    bubble = 1 - min(1.0, compute_s / timeline.makespan_s) if timeline.makespan_s else 0.0
    return (str(rank), *(time_text(part) for part in parts), percent_text(bubble))
