"""Gradient flow as a picture: the same bytes each time, in words too, and what is wrong marked."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import traitlets

from lab_utils.render.kit import WIDTHS, text_width
from lab_utils.timeline import Op, Trace
from lab_utils.widgets.gradient_flow import widget as flow_widget
from lab_utils.widgets.gradient_flow.flow import FlowPicture, merged
from lab_utils.widgets.gradient_flow.picture import Drawing, gradient_flow
from lab_utils.widgets.gradient_flow.record import Bucket, FlowRecord, Gradient, Piece, ratio
from lab_utils.widgets.gradient_flow.widget import GradientFlow

NAMES = ("1.weight", "1.bias", "0.weight")


def sample(after: float = 0.0, norm: float = 0.5) -> tuple[Trace, list[FlowRecord]]:
    """Two ranks, two buckets of which rank 1 brings the second late; their clocks read 100 s when the trace begins."""
    ops = tuple(
        tuple(
            Op(rank, "collective", "all_reduce", "world", (0, 1), seq, 64 * (seq + 1), asynchronous=True,
               issue_s=issue_s, done_s=done_s)
            for seq, issue_s, done_s in [(0, 2.0, 3.0), (1, 3.0 + 2 * rank, 6.0)]
        )
        for rank in range(2)
    )  # fmt: skip
    buckets = (Bucket(NAMES[:2], 64, "DDP", ("world", 0)), Bucket(NAMES[2:], 128, "DDP", ("world", 1)))
    records = []
    for rank in range(2):
        gradients = tuple(
            Gradient(name, (4, 2), 64, (100 + ready_s,), norm, norm, 0.4, 0.1 + rank, 0.4, after * (1 + rank))
            for name, ready_s in zip(NAMES, (1.5, 1.8, 2.9 + 2 * rank), strict=True)
        )
        records.append(FlowRecord(rank, 101.0, 107.0, 100.0, gradients, buckets))
    return Trace(ops), records


def test_times_are_put_on_one_clock() -> None:
    flow = FlowPicture.of(*sample())
    assert [layer.name for layer in flow.layers] == list(NAMES) and [layer.bucket for layer in flow.layers] == [0, 0, 1]
    assert np.allclose(flow.ready_s, [[0.5, 0.8, 1.9], [0.5, 0.8, 3.9]])
    late = [(wire.rank, wire.issue_s, wire.met_s, wire.done_s) for wire in flow.lines[1].ops]
    assert late == [(0, 2.0, 4.0, 5.0), (1, 4.0, 4.0, 5.0)] and flow.end_s == 6.0
    assert flow.headline() == "3 gradients in 2 buckets, 6.00 s; the ranks agree on all of them"


def test_the_picture_is_the_same_each_time_and_is_told_in_words() -> None:
    first, second = (gradient_flow(FlowPicture.of(*sample())) for _ in range(2))
    assert first.svg == second.svg and first.svg != gradient_flow(FlowPicture.of(*sample(after=0.1))).svg
    root = ET.fromstring(first.svg)
    ready = [node for node in root.iter() if node.get("data-ready")]
    assert len(ready) == 6 and sorted({node.get("data-ready") for node in ready}) == ["0", "1"]
    bars = {node.get("data-bucket"): len(list(node)) for node in root.iter() if node.get("data-bucket")}
    assert bars == {"0": 2, "1": 3}  # two on the wire, and rank 0's waiting for rank 1
    assert "0.weight  1.90 s to 3.90 s  1       2.00 s to 4.00 s  5.00 s  0.5   2.75 → 0" in first.words
    assert (
        "rank 1: ready at 3.90 s · sent 4.00 s, back 5.00 s · norm 0.5, after 0.5 · disagreement before 2.75"
        in first.svg
    )


def test_what_is_wrong_is_marked_by_shape_and_word() -> None:
    agreed, differing = (gradient_flow(FlowPicture.of(*sample(after))) for after in (0.0, 0.1))
    assert agreed.svg.count(">agree<") == 3 and ">agree<" not in differing.svg
    assert "the ranks disagree about 1.weight, 1.bias, 0.weight" in differing.words
    assert differing.svg.count(">0.5<") == 3  # 0.2 / 0.4
    odd = gradient_flow(FlowPicture.of(*sample(norm=math.nan)))
    assert odd.svg.count(">NaN<") == 3 and "not finite: 1.weight, 1.bias, 0.weight" in odd.words


def test_pieces_are_shown_where_they_lie() -> None:
    trace, records = sample()
    pieces = [Piece((0, 0), (1, 2)), Piece((1, 0), (3, 2))]
    split = [
        replace(
            record, gradients=tuple(replace(g, kept=pieces[record.rank], spread_after=None) for g in record.gradients)
        )
        for record in records
    ]
    picture = gradient_flow(FlowPicture.of(trace, split))
    assert "rank keeps" in picture.svg and "keeps [1:4, 0:2], 75.0 %" in picture.svg
    assert "25 % to 75 %" in picture.words and "no two ranks keep the same" in picture.words
    assert "rank keeps" not in gradient_flow(FlowPicture.of(trace, records)).svg


def test_many_parameters_are_shown_together() -> None:
    assert merged(["0.up.weight", "0.up.bias", "1.up.weight"], 2) == {
        "0.up": ["0.up.weight", "0.up.bias"], "1.up": ["1.up.weight"],
    }  # fmt: skip
    flow = FlowPicture.of(*sample(after=0.1), most_layers=2)
    assert [layer.name for layer in flow.layers] == ["1", "0"] and flow.layers[0].bucket == 0
    assert flow.layers[0].norm(0) == pytest.approx(0.5 * math.sqrt(2))
    assert flow.layers[0].disagreement(1, "after") == pytest.approx(0.5) and flow.ready_s[0][0] == pytest.approx(0.8)


def test_other_communication_has_rows_of_its_own() -> None:
    trace, records = sample()
    others = [
        Op(0, "recv", "recv", peer=1, bytes=8, issue_s=2.0, done_s=4.0),
        Op(1, "send", "send", peer=0, bytes=8, issue_s=3.0, done_s=3.5),
        Op(0, "collective", "all_reduce", "tp 0", (0,), 0, 8, issue_s=5.0, done_s=5.5),
        Op(0, "collective", "all_reduce", "tp 0", (0,), 1, 8, issue_s=8.0, done_s=8.5),  # after the block
        Op(1, "collective", "all_reduce", "tp 1", (1,), 0, 8, issue_s=5.0, done_s=5.5),
    ]
    both = Trace(tuple((*ops, *(op for op in others if op.rank == rank)) for rank, ops in enumerate(trace.ops)))
    flow = FlowPicture.of(both, records)
    assert [(line.name, len(line.ops)) for line in flow.others] == [
        ("messages, rank 1 → 0", 2),
        ("all_reduce, tp", 2),  # groups of one axis share a row
    ]
    recv = flow.others[0].of(0)[0]
    assert (recv.issue_s, recv.met_s, recv.done_s) == (1.0, 2.0, 3.0)


def test_records_of_all_ranks_are_needed() -> None:
    trace, records = sample()
    with pytest.raises(ValueError, match=r"one record of each of 2 ranks, and these are \[0\]"):
        FlowPicture.of(trace, records[:1])
    with pytest.raises(ValueError, match=r"ranks \[0\] were not recorded during the backward: call the program with"):
        FlowPicture.of(trace, [replace(records[0], origin_s=None), records[1]])


def test_nothing_apart_is_no_disagreement() -> None:
    assert ratio(0.0, 0.0) == 0.0 and ratio(1.0, 0.0) == math.inf and ratio(None, 1.0) is None
    assert math.isnan(ratio(math.nan, 0.0)) and ratio(1.0, 4.0) == 0.25


# ---------------------------------------------------------------------- the widget
def test_the_widget_says_and_sends_what_it_shows() -> None:
    flow = GradientFlow(*sample())
    said = "Gradient flow on 2 ranks: 3 gradients in 2 buckets; the ranks agree on all of them"
    assert repr(flow) == said  # no times: nbval compares it
    bundle, _ = flow._repr_mimebundle_()
    assert bundle["text/plain"] == said and "<title>" not in bundle["image/svg+xml"].split("</desc>")[1]
    assert flow.to_svg() == gradient_flow(FlowPicture.of(*sample())).svg and "0.weight" in flow.words()
    json.dumps(flow.data, allow_nan=False)
    assert flow.data["times"][1][2] == [pytest.approx(3.9), 4.0, 5.0]


def test_only_a_layer_can_be_selected() -> None:
    flow = GradientFlow(*sample())
    flow.selected = "0.weight"
    with pytest.raises(traitlets.TraitError, match="'head' is no layer of this picture; those are 1.weight, 1.bias"):
        flow.selected = "head"
    assert flow.selected == "0.weight"


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in flow_widget.FOLDER.glob("widget.[jc]s*"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//cdn|\bimport\b|@import|url\((?!#)|innerHTML", text)


@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_narrow_card_words_keep_their_size_and_lie_on_no_others(width: int) -> None:
    """The layout is another one; only the widest is stored."""
    root = ET.fromstring(Drawing(FlowPicture.of(*sample(after=0.1)), width=width).picture().svg)
    assert root.get("viewBox").split()[2] == str(width)
    rows: dict[float, list[tuple[float, float, str]]] = {}
    for word in (node for node in root.iter("{http://www.w3.org/2000/svg}text") if not node.get("transform")):
        size, x = float(word.get("font-size", 11)), float(word.get("x"))
        wide = 0.8 * text_width(word.text, size)
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[word.get("text-anchor", "start")]
        assert size >= 10 and left >= 0 and left + wide <= width, word.text
        rows.setdefault(float(word.get("y")), []).append((left, left + wide, word.text))
    for row in rows.values():
        for (_, end, one), (begin, _, other) in pairwise(sorted(row)):
            assert end <= begin, (one, other)


def test_the_widget_sends_a_picture_for_each_width() -> None:
    flow = GradientFlow(*sample())
    assert [re.search(r'viewBox="0 0 (\d+)', each["svg"])[1] for each in flow.narrower] == [str(w) for w in WIDTHS[1:]]
    assert all(each["left"] < each["right"] < flow.data["right"] for each in flow.narrower)
