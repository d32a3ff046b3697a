"""Text summaries of traces and timelines, for terminals, screen readers and text outputs."""

from __future__ import annotations

from lab_utils.text import bytes_text, columns, counted, percent_text, time_text
from lab_utils.timeline.export import words
from lab_utils.timeline.ops import RankOps
from lab_utils.timeline.placed import Placed

RANKS_SHOWN = 32


def kind_text(timeline: Placed) -> str:
    """Return "measured", or "predicted for H100 cluster"."""
    made_from = timeline.prediction
    return timeline.kind if made_from is None else words.PREDICTED_FOR.format(kind=timeline.kind, name=made_from.name)


def headline(timeline: Placed) -> str:
    """One sentence with makespan, bubble fraction and exposed communication."""
    return words.HEADLINE.format(
        ranks=counted(timeline.world_size, "rank"),
        kind=kind_text(timeline),
        makespan=time_text(timeline.makespan_s),
        bubble=percent_text(timeline.bubble_fraction),
        exposed=time_text(timeline.exposed_comm_s),
    )


def busy_text(placed: Placed | RankOps) -> str:
    """Return that other processes took cores while this was recorded; "" where they did not, or it is not known."""
    if placed.others is None:
        return ""
    taken, cores = placed.others
    return words.BUSY.format(taken=f"{taken:.1f}", cores=cores)


def summary(timeline: Placed) -> str:
    """The headline and a table with one line per rank; bubble is the fraction of its time without compute."""
    rows = [_row(timeline, rank) for rank in range(min(timeline.world_size, RANKS_SHOWN))]
    table = columns([tuple(words.COLUMNS.values()), *rows], str.rjust, str.rjust)
    more = timeline.world_size - RANKS_SHOWN
    said = [words.MORE_RANKS.format(count=more)] if more > 0 else []
    uncounted = 0 if timeline.prediction is None else sum(op.uncounted for op in timeline.ops)
    said += [words.LEFT_OUT.format(count=uncounted)] if uncounted else []
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
    title = (words.TRACE if rows else words.NOTHING_SENT).format(ranks=counted(trace.world_size, "rank"))
    others = dict.fromkeys((op.name, op.run_as) for op in trace if op.run_as)
    said = [words.RUN_AS.format(name=name, run_as=run_as) for name, run_as in others]
    uncounted = sum(op.uncounted for op in trace)
    said += [words.NOT_COUNTED.format(count=uncounted)] if uncounted else []
    table = columns([words.TRACE_COLUMNS, *rows], str.rjust, str.rjust) if rows else []
    return "\n".join([title, *table, *said])


def _per_rank(trace: RankOps, name: str) -> tuple[str, str]:
    found = [[op.bytes for op in ops if op.name == name and op.kind != "wait"] for ops in trace.ops]
    return _spread([str(len(sizes)) for sizes in found]), _spread([bytes_text(sum(sizes)) for sizes in found])


def _spread(values: list[str]) -> str:
    """One value if all ranks have the same, otherwise all of them in rank order."""
    return values[0] if len(set(values)) == 1 else ", ".join(values)
