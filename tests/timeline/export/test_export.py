"""Exported timelines: trace events by the rules of their format, and a table of comma-separated values."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from timeline_samples import MS, all_reduce, compute, ddp, message, ring_all_reduce, trace
from trace_events import complaints, of_phase

from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.timeline import Op, Phase, Timeline, Trace
from lab_utils.timeline.export import perfetto
from lab_utils.timeline.export.csv_table import COLUMNS
from lab_utils.timeline.hardware import Hardware, Link


def events_of(timeline: Timeline, path: Path) -> list[dict]:
    timeline.to_perfetto(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(complaints(content)) == []
    return content["traceEvents"]


def one_f_one_b() -> Timeline:
    return simulate(schedules.one_f_one_b(4, 8), Costs())


SAMPLES = {
    "ddp": lambda: ddp(4, 3, 2).timeline(),
    "ring": lambda: ring_all_reduce(5).timeline(),
    "predicted": lambda: ddp(3).timeline(Hardware(None, Link("slow", 1e-4, 1e9))),
    "schedule": one_f_one_b,
    "empty": lambda: trace([], []).timeline(),
    "awkward names": lambda: trace([compute(0, 1.0, 2.0, source='a"b\\c.py:1', phase="Schritt é\n")]).timeline(),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_files_keep_the_rules_of_the_format(sample: str, tmp_path: Path) -> None:
    timeline = SAMPLES[sample]()
    events = events_of(timeline, tmp_path / "trace.json")
    phases = sum(map(len, timeline.phases))
    assert len(of_phase(events, "X")) == len(timeline.spans) + phases


def test_a_span_becomes_an_event_of_its_rank_and_lane(tmp_path: Path) -> None:
    ops = [compute(0, 5.0, 5.25, flops=7, phase="forward", source="train.py:4"), all_reduce(0, 0, 5.25, 5.25, 6, (0,))]
    events = events_of(trace(ops).timeline(), tmp_path / "trace.json")
    first, second, third = of_phase(events, "X")
    assert (first["ts"], first["dur"]) == (0, 250_000)
    assert first["args"] == {"kind": "compute", "source": "train.py:4", "phase": "forward", "flops": 7}
    assert (second["name"], second["cat"], second["ts"], second["dur"]) == (
        "all_reduce", "communication", 250_000, 750_000
    )  # fmt: skip
    assert first["tid"] == second["tid"] != third["tid"]
    names = {event["tid"]: event["args"]["name"] for event in of_phase(events, "M") if event["name"] == "thread_name"}
    assert (names[first["tid"]], names[third["tid"]]) == ("own stream", "wire")


def test_threads_stand_in_order_and_no_id_is_used_twice(tmp_path: Path) -> None:
    events = of_phase(events_of(ddp(3).timeline(), tmp_path / "trace.json"), "M")
    order = {
        (event["pid"], event["tid"]): event["args"]["sort_index"]
        for event in events if event["name"] == "thread_sort_index"
    }  # fmt: skip
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name" and event["pid"] == 2]
    assert names == ["phases", "own stream", "wire", "wire 2"]
    assert [order[thread] for thread in sorted(order) if thread[0] == 2] == [0, 1, 2, 3]
    threads = [tid for _, tid in order]
    assert len({*threads, 1, 2, 3}) == len(threads) + 3, "a thread's id is that of another thread or process"


def test_names_of_ranks_sort_as_their_numbers(tmp_path: Path) -> None:
    events = of_phase(events_of(ring_all_reduce(11).timeline(), tmp_path / "trace.json"), "M")
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert names == sorted(names)
    assert (names[2], names[10]) == ("rank 02", "rank 10")


def test_phases_nest_on_a_thread_of_their_own(tmp_path: Path) -> None:
    inner, outer = Phase(0, "inner", 1.0, 2.0), Phase(0, "outer", 1.0, 4.0)
    one = Trace(((compute(0, 1.0, 4.0),),), ((inner, outer),)).timeline()
    spans = of_phase(events_of(one, tmp_path / "trace.json"), "X")
    assert [span["name"] for span in spans if span["cat"] == "phase"] == ["outer", "inner"]


def arrows(events: list[dict], category: str) -> list[list[tuple[str, int, float]]]:
    chains: dict[int, list[tuple[str, int, float]]] = {}
    for event in of_phase(events, "s", "t", "f"):
        if event["cat"] == category:
            chains.setdefault(event["id"], []).append((event["ph"], event["pid"] - 1, event["ts"]))
    return list(chains.values())


def test_members_of_a_collective_are_joined_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    ranks = [[all_reduce(rank, 0, issue_s, issue_s, 9.0, (0, 1, 2))] for rank, issue_s in enumerate((3.0, 1.0, 2.0))]
    events = events_of(trace(*ranks).timeline(), tmp_path / "trace.json")
    assert arrows(events, "collective") == [[("s", 1, 0), ("t", 2, 1e6), ("f", 0, 2e6)]]


def test_every_message_has_an_arrow_from_its_send_to_its_recv(tmp_path: Path) -> None:
    sent = [message("send", 0, 1, times=(0.0, 0.0, 3 * MS)), message("recv", 0, 1, times=(4 * MS, 4 * MS, 6 * MS))]
    came = [message("recv", 1, 0, times=(1 * MS, 1 * MS, 3 * MS)), message("send", 1, 0, times=(5 * MS, None, 6 * MS))]
    events = events_of(trace(sent, came).timeline(), tmp_path / "trace.json")
    assert arrows(events, "message") == [[("s", 0, 0), ("f", 1, 1000)], [("s", 1, 5000), ("f", 0, 5000)]]
    ring = events_of(ring_all_reduce(4).timeline(), tmp_path / "ring.json")
    assert len(arrows(ring, "message")) == 4 * 6


def test_a_message_whose_other_side_is_missing_has_no_arrow(tmp_path: Path) -> None:
    alone = trace([message("recv", 0, 1, times=(0.0, 0.0, 1.0))], [compute(1, 0.0, 1.0)])
    assert arrows(events_of(alone.timeline(), tmp_path / "trace.json"), "message") == []


def test_a_schedule_counts_the_micro_batches_in_memory(tmp_path: Path) -> None:
    timeline = one_f_one_b()
    counted = of_phase(events_of(timeline, tmp_path / "trace.json"), "C")
    peaks = [max(each["args"]["micro-batches"] for each in counted if each["pid"] == rank + 1) for rank in range(4)]
    assert tuple(peaks) == timeline.peak_activations == (4, 3, 2, 1)
    assert [each["args"]["micro-batches"] for each in counted if each["pid"] == 4] == [1, 0] * 8  # the last stage


def test_bytes_in_memory_are_counted_where_ops_tell(tmp_path: Path) -> None:
    told = trace([compute(0, 0.0, 1.0, live_bytes=10, peak_bytes=30), compute(0, 2.0, 3.0, live_bytes=0)])
    counted = of_phase(events_of(told.timeline(), tmp_path / "trace.json"), "C")
    assert {each["name"] for each in counted} == {"memory"}
    assert [(each["ts"], each["args"]["bytes"]) for each in counted] == [(0, 30), (1e6, 10), (2e6, 0), (3e6, 0)]


def test_the_same_timeline_gives_the_same_bytes_also_compressed_and_in_small_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json.gz", "c.json")]
    for path, at_once in zip(paths, (perfetto._AT_ONCE, perfetto._AT_ONCE, 3), strict=True):
        monkeypatch.setattr(perfetto, "_AT_ONCE", at_once)
        ddp().timeline().to_perfetto(path)
    assert paths[0].read_bytes() == gzip.decompress(paths[1].read_bytes()) == paths[2].read_bytes()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda events: events[-1].pop("id"), "lacks ['id']"),
        (lambda events: events[-1].update(ts=1e9), "binds to no span"),
        (lambda events: events.pop(), "not s, any number of t, and f"),
        (lambda events: of_phase(events, "X")[0].update(dur=-1), "not a number of µs"),
        (lambda events: of_phase(events, "X")[0].update(dur=1e6 + 1), "ends after the span around it"),
        (lambda events: of_phase(events, "X")[0].update(ts=8e6, dur=1), "not in order of time"),
        (lambda events: of_phase(events, "X")[0].update(tid=99), "has no name"),
        (lambda events: events[0].update(ph="Q"), "is none of"),
        (lambda events: events[0].update(name="colour"), "no viewer knows"),
    ],
)
def test_the_rules_catch_a_broken_file(change, complaint: str, tmp_path: Path) -> None:
    trace(*[[all_reduce(r, 0, r, r, 9.0)] for r in range(2)]).timeline().to_perfetto(tmp_path / "trace.json")
    content = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    assert list(complaints(content)) == []
    change(content["traceEvents"])
    assert any(complaint in found for found in complaints(content))


@pytest.mark.parametrize("sample", ["ddp", "schedule"])
def test_csv_has_a_line_a_span_and_units_in_its_names(sample: str, tmp_path: Path) -> None:
    timeline = SAMPLES[sample]()
    timeline.to_csv(tmp_path / "spans.csv")
    with (tmp_path / "spans.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == len(timeline.spans)
    for line, span in zip(lines, timeline.spans, strict=True):
        assert (int(line["rank"]), line["lane"], line["activity"]) == (span.rank, span.lane, span.activity)
        assert float(line["duration_s"]) == pytest.approx(span.duration_s)
        assert (line["op"], int(line["size_bytes"]), line["source"]) == (span.op.name, span.op.bytes, span.op.source)
    assert {line["peer_rank"] for line in lines} == {""}


def test_ops_that_know_nothing_leave_their_cells_empty(tmp_path: Path) -> None:
    trace([Op(0, "compute", "compute", issue_s=0.0, done_s=1.0)]).timeline().to_csv(tmp_path / "spans.csv")
    line = (tmp_path / "spans.csv").read_text(encoding="utf-8").splitlines()[1]
    assert line == "0,own,0,compute,0.0,1.0,1.0,0,compute,compute,,0,0,0,0,0,,,,0,,,,,"
