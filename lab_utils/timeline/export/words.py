"""Text summaries of traces and timelines, for terminals, screen readers and text outputs."""

from __future__ import annotations

from lab_utils.text import bytes_text, columns, percent_text, time_text
from lab_utils.timeline.ops import RankOps
from lab_utils.timeline.placed import Placed

COLUMNS = ("rank", "compute", "communication", "waiting", "idle", "bubble")
RANKS_SHOWN = 32
ONE_RANK, RANKS = "1 rank", "{count} ranks"
MORE_RANKS = "and {count} more ranks"
HEADLINE = (
    "Timeline of {ranks} ({kind}): makespan {makespan}, bubble fraction {bubble}, "
    "exposed communication {exposed} a rank on average."
)


def of_ranks(count: int) -> str:
    return ONE_RANK if count == 1 else RANKS.format(count=count)


def headline(timeline: Placed) -> str:
    """One sentence with makespan, bubble fraction and exposed communication."""
    return HEADLINE.format(
        ranks=of_ranks(timeline.world_size),
        kind=timeline.kind,
        makespan=time_text(timeline.makespan_s),
        bubble=percent_text(timeline.bubble_fraction),
        exposed=time_text(timeline.exposed_comm_s),
    )


def summary(timeline: Placed) -> str:
    """The headline and a table with one line per rank; bubble is the fraction of its time without compute."""
    rows = [_row(timeline, rank) for rank in range(min(timeline.world_size, RANKS_SHOWN))]
    table = columns([COLUMNS, *rows], str.rjust, str.rjust)
    more = timeline.world_size - RANKS_SHOWN
    said = [MORE_RANKS.format(count=more)] if more > 0 else []
    uncounted = 0 if timeline.prediction is None else sum(op.uncounted for op in timeline.ops)
    said += [f"Left out: {uncounted} kernels that could not be counted"] if uncounted else []
    return "\n".join([headline(timeline), *table, *said])


def _row(timeline: Placed, rank: int) -> tuple[str, ...]:
    compute_s = timeline.compute_by_rank_s[rank]
    parts = (
        compute_s,
        timeline.exposed_comm_by_rank_s[rank],
        timeline.waiting_by_rank_s[rank],
        timeline.idle_by_rank_s[rank],
    )
    bubble = 1 - min(1.0, compute_s / timeline.makespan_s) if timeline.makespan_s else 0.0
    return (str(rank), *(time_text(part) for part in parts), percent_text(bubble))


def trace_summary(trace: RankOps) -> str:
    """Table of the ops, with count and tensor bytes per rank. Deterministic."""
    names = dict.fromkeys(op.name for op in trace if op.kind not in ("compute", "wait"))
    rows = [(name, *_per_rank(trace, name)) for name in names]
    title = f"Trace of {of_ranks(trace.world_size)}" + ("" if rows else ": nothing went over the wire")
    others = dict.fromkeys((op.name, op.run_as) for op in trace if op.run_as)
    said = [f"{name} was run as {run_as}" for name, run_as in others]
    uncounted = sum(op.uncounted for op in trace)
    said += [f"Not counted: {uncounted} kernels"] if uncounted else []
    table = columns([("op", "times a rank", "tensor bytes a rank"), *rows], str.rjust, str.rjust) if rows else []
    return "\n".join([title, *table, *said])


def _per_rank(trace: RankOps, name: str) -> tuple[str, str]:
    found = [[op.bytes for op in ops if op.name == name and op.kind != "wait"] for ops in trace.ops]
    return _spread([str(len(sizes)) for sizes in found]), _spread([bytes_text(sum(sizes)) for sizes in found])


def _spread(values: list[str]) -> str:
    """One value if all ranks have the same, otherwise all of them in rank order."""
    return values[0] if len(set(values)) == 1 else ", ".join(values)
