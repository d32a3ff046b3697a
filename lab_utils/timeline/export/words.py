"""The words of the text summaries of traces and timelines."""

from __future__ import annotations

COLUMNS = {
    "rank": "rank", "compute": "compute", "communication": "communication", "waiting": "waiting", "idle": "idle",
    "bubble": "bubble",
}  # fmt: skip
ONE_RANK, RANKS = "1 rank", "{count} ranks"  # for scripts
MORE_RANKS = "and {count} more ranks"
HEADLINE = (
    "Timeline of {ranks} ({kind}): makespan {makespan}, bubble fraction {bubble}, "
    "exposed communication {exposed} per rank on average."
)
PREDICTED_FOR = "{kind} for {name}"  # a hardware, or a schedule
BUSY = "The machine was busy: {taken} of {cores} cores were taken by other processes."
LEFT_OUT = "Left out: {count} kernels that could not be counted"

TRACE, NOTHING_SENT = "Trace of {ranks}", "Trace of {ranks}: nothing went over the wire"
TRACE_COLUMNS = ("op", "count per rank", "tensor bytes per rank")
RUN_AS, NOT_COUNTED = "{name} was run as {run_as}", "Not counted: {count} kernels"
