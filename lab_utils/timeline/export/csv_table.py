"""Export a timeline as CSV, one line per span: for a spreadsheet, pandas, R."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from lab_utils.timeline.span import ACTIVITIES, LANES, Spans

OP_COLUMNS = {
    "op": "name", "kind": "kind", "group": "group", "seq": "seq", "size_bytes": "bytes", "flops": "flops",
    "other_bytes": "other_bytes", "kernels": "kernels", "live_bytes": "live_bytes", "peak_bytes": "peak_bytes",
    "peer_rank": "peer", "tag": "tag", "stage": "stage", "microbatch": "microbatch", "phase": "phase",
    "source": "source", "run_as": "run_as",
}  # fmt: skip
COLUMNS = ("rank", "lane", "track", "activity", "start_s", "end_s", "duration_s", "op_number", *OP_COLUMNS)


def to_csv(spans: Spans, zero_s: float, path: str | Path) -> None:
    """Write COLUMNS, then one line per span, in order; units are in the column names.

    Times are seconds since `zero_s`. Spans of one op share an op_number, counted over all ranks. A cell is
    empty where the op has no such value (the peer of a collective).
    """
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_lines(spans, zero_s))


def _lines(spans: Spans, zero_s: float) -> Iterator[tuple]:
    c, ops, about = spans.columns, spans.ops, attrgetter(*OP_COLUMNS.values())
    start_s, end_s = c.start_s - zero_s, c.end_s - zero_s
    listed = (c.rank, c.lane, c.track, c.activity, start_s, end_s, end_s - start_s, c.op)
    for rank, lane, track, activity, *times_s, op in zip(*(column.tolist() for column in listed), strict=True):
        yield (rank, LANES[lane], track, ACTIVITIES[activity], *times_s, op, *about(ops[op]))
