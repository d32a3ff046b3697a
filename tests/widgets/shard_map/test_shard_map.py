"""The shard map as a picture and in words: the same bytes each time, what is split, copied, missing or amiss in it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from shard_samples import LAYER, WIDTH, sample

from lab_utils.widgets.gradient_flow.record import Piece
from lab_utils.widgets.shard_map.picture import shard_map
from lab_utils.widgets.shard_map.picture_strips import parts_of
from lab_utils.widgets.shard_map.record import Held, RankHoldings
from lab_utils.widgets.shard_map.rows_and_totals import Shards, few
from lab_utils.widgets.shard_map.sentences import cell_text, copies_text, headline, part_text, sentence
from lab_utils.widgets.shard_map.tensor_layout import count
from lab_utils.widgets.shard_map.widget import ShardMap

SVG = "{http://www.w3.org/2000/svg}"
NUMBERS = WIDTH + 7 * WIDTH * WIDTH  # of a layer


def one(rank: int, offset: int, size: int, whole: int = 10, content: int | None = 7, name: str = "w") -> RankHoldings:
    held = Held("parameter", name, (whole,), Piece((offset,), (size,)), "float32", 4 * size, content=content)
    return RankHoldings(rank, (held,))


def test_sentences_tell_parts_of_the_whole() -> None:
    shards = Shards(sample(dp=4, tp=1, layers=3, zero=1))
    whole = 4 * 3 * NUMBERS
    assert shards.sums["parameter"].whole_bytes == whole and shards.sums["parameter"].bytes == (whole,) * 4
    assert sentence(shards, "parameter") == "each rank holds all of the parameters: 345 kB; 4 equal copies in all"
    assert shards.sums["optimizer state"].bytes == (2 * whole // 4,) * 4
    assert sentence(shards, "optimizer state") == "each rank holds 1/4 of the optimizer state: 172 kB of 690 kB"
    assert sentence(shards, "activation") == "each rank keeps 6.00 kB of activations"
    assert sentence(shards, "buffer") == "no rank holds buffers"
    assert headline(shards) == "4 ranks · mesh dp 4 · 868 kB on each"
    uneven = Shards([one(0, 0, 6), one(1, 6, 4)])
    assert (
        sentence(uneven, "parameter")
        == "ranks hold 40.0 % to 60.0 % of the parameters: 16 bytes to 24 bytes of 40 bytes"
    )
    assert sentence(Shards([one(2, 0, 10)]), "parameter") == "rank 2 holds all of the parameters: 40 bytes"


def test_parts_are_said_as_people_say_them() -> None:
    cases = [
        (8, 8, "all"),
        (0, 8, "none"),
        (2, 8, "1/4"),
        (2, 6, "33.3 %"),
        (1002, 4000, "1/4"),
        (1030, 4000, "25.8 %"),
    ]
    assert [part_text(held, whole, 4) for held, whole, _ in cases] == [said for *_, said in cases]


def test_copies_gaps_and_what_differs_are_told() -> None:
    gap = Shards([one(0, 0, 3), one(1, 5, 5)])
    assert sentence(gap, "parameter").endswith("; 8 bytes of it are on no rank")
    overlap = Shards([one(0, 0, 6), one(1, 4, 6)])
    assert overlap.sums["parameter"].alone == (16, 16)
    assert cell_text(overlap.rows("parameter")[0], 0) == "[0:6] · 24 bytes, 60.0 % · 16 bytes on no other rank"
    odd = Shards([one(0, 0, 10), one(1, 0, 10, content=8), one(2, 0, 10)])
    assert odd.rows("parameter")[0].differ == {1}
    assert "copies differ" in odd_words(odd) and cell_text(odd.rows("parameter")[0], 1).endswith("other copies")
    assert Shards([one(0, 0, 10), one(1, 0, 10, content=8)]).rows("parameter")[0].differ == {0, 1}
    unknown = Shards([one(0, 0, 10, content=None), one(1, 0, 10)])
    assert copies_text(unknown, unknown.rows("parameter")[0]) == "2 copies" and "equal" not in odd_words(unknown)


def odd_words(shards: Shards) -> str:
    return shard_map(shards, "parameter").words


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 4), st.integers(0, 4)), max_size=5))
def test_what_is_alone_is_counted_element_by_element(boxes: list[tuple[int, int, int, int]]) -> None:
    held = [Piece((min(a, b), min(c, d)), (abs(a - b), abs(c - d))) for a, b, c, d in boxes]
    cells = [
        {
            (i, j)
            for i in range(p.offset[0], p.offset[0] + p.shape[0])
            for j in range(p.offset[1], p.offset[1] + p.shape[1])
        }
        for p in held
    ]
    alone, any_rank = count((6, 4), tuple((piece,) for piece in held))
    assert list(alone) == [len(own - set().union(*cells[:at], *cells[at + 1 :])) for at, own in enumerate(cells)]
    assert any_rank == len(set().union(*cells))


def test_boxes_are_where_the_pieces_are() -> None:
    """A matrix split both ways: rows downwards, columns to the right; tensors of a row stand beside each other."""
    shards = Shards(sample(dp=2, tp=2, layers=1))
    matrix = next(row for row in shards.rows("parameter") if row.name.endswith("mlp.up.weight"))
    assert [box for box, _ in parts_of(matrix, 0)] == [(0, 0, 0.5, 0.5)]
    assert [box for box, _ in parts_of(matrix, 3)] == [(0.5, 0.5, 0.5, 0.5)]
    vector, *_ = shards.rows("parameter")
    assert list(parts_of(vector, 3)) == [((0, 0.5, 1, 0.5), True)]
    moments = shards.rows("optimizer state")[1]
    assert [spread.slot for spread in moments.drawn] == ["exp_avg"]  # the other lies alike
    assert [box for box, _ in parts_of(moments, 1)] == [(0.5, 0, 0.5, 0.5)]
    layer = Shards(sample(dp=2, tp=1, layers=30)).rows("gradient")[0]
    bytes_before = [0, WIDTH, WIDTH + 3 * WIDTH * WIDTH]
    assert layer.names == len(LAYER) * 2 and len(layer.drawn) == layer.names
    lefts = [box[0] for box, _ in parts_of(layer, 0)][:3]
    assert lefts == pytest.approx([numbers / (2 * NUMBERS) for numbers in bytes_before])


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1), (4, 2), (8, 2), (8, 8), (32, 2), (2, 32)])
def test_the_picture_holds_all_ranks_and_stays_inside(size: tuple[int, int]) -> None:
    shards = Shards(sample(*size, layers=24))
    picture = shard_map(shards, "optimizer state")
    root = ET.fromstring(picture.svg)
    width, height = map(float, root.get("viewBox").split()[2:])
    ranks, rows = size[0] * size[1], shards.rows("optimizer state")
    cards = [r for r in root.iter(f"{SVG}rect") if r.get("data-rank") and not r.get("data-row")]
    cells = [r for r in root.iter(f"{SVG}rect") if r.get("data-rank") and r.get("data-row")]
    assert [int(card.get("data-rank")) for card in cards] == list(range(ranks))
    assert 10 <= len(rows) <= 28 and len(cells) == ranks * len(rows) and height < 1400
    assert sum(row.names for row in rows) == 24 * len(LAYER)
    for mark in root.iter(f"{SVG}rect"):
        assert float(mark.get("x", 0)) + float(mark.get("width")) <= width
    corners = [(float(card.get("x")), float(card.get("y")), float(card.get("width"))) for card in cards]
    assert len({corner[:2] for corner in corners}) == ranks
    assert all(b[0] >= a[0] + a[2] for a, b in zip(corners, corners[1:], strict=False) if a[1] == b[1])
    assert len(picture.svg) < 600_000


def test_ranks_stand_on_their_mesh() -> None:
    """Of a 2 × 2 mesh, ranks of one row share a height, ranks of one column a left edge; also with ranks mixed up."""
    for held in (sample(mesh=False), sample(mesh=False)[::-1]):
        root = ET.fromstring(shard_map(Shards(held, {"dp": 2, "tp": 2}), "parameter").svg)
        at = {
            int(r.get("data-rank")): (r.get("x"), r.get("y"))
            for r in root.iter(f"{SVG}rect")
            if r.get("data-rank") and not r.get("data-row")
        }
        assert at[0][1] == at[1][1] != at[2][1] == at[3][1] and at[0][0] == at[2][0] != at[1][0] == at[3][0]
        texts = [node.text for node in root.iter(f"{SVG}text")]
        assert {"dp 0", "dp 1", "dp 1, tp 0"} <= set(texts)


def test_names_are_taken_together_where_they_are_many() -> None:
    names = [f"blocks.{layer}.{part}" for layer in range(40) for part in ("up", "down")] + ["head"]
    rows = few(names, 12)
    assert list(rows)[:2] == ["blocks.0 … 3", "blocks.4 … 7"] and list(rows)[-1] == "head" and len(rows) <= 12
    assert [name for members in rows.values() for name in members] == names
    assert few(names, 81) == {name: [name] for name in names}
    flat = few([f"w{number}" for number in range(100)], 10)
    assert len(flat) == 10 and flat["w0 … w9"] == [f"w{number}" for number in range(10)]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="the holdings of each rank once, these are of ranks \\[0, 0\\]"):
        Shards([one(0, 0, 10), one(0, 0, 10)])
    with pytest.raises(ValueError, match="mesh of dp 2 × tp 3 has 6 ranks, and these are 4"):
        Shards(sample(), {"dp": 2, "tp": 3})
    with pytest.raises(ValueError, match=r"w is \[10\] as a whole on rank 0 and \[12\] on rank 3: give holdings"):
        Shards([one(0, 0, 10), one(3, 0, 12, whole=12)])
    with pytest.raises(ValueError, match="these ranks hold nothing"):
        Shards([RankHoldings(0, ())])


def test_the_widget_has_a_picture_a_kind() -> None:
    widget = ShardMap(sample())
    assert widget.pages == ShardMap(sample()).pages
    assert [page[0] for page in widget.pages] == ["parameter", "gradient", "optimizer state", "activation"]
    assert widget.kind == "parameter" and widget.to_svg() == widget.pages[0][2]
    assert repr(widget).splitlines()[1] == "- each rank holds 1/4 of the parameters: 57.6 kB of 230 kB"
    assert repr(ShardMap(sample())) == repr(widget) and widget.words().startswith(repr(widget))
    widget.selected = "blocks.1.mlp.up.weight"
    widget.kind = "gradient"
    assert widget.selected == "blocks.1.mlp.up.weight" and widget.to_svg() == widget.pages[1][2]
    widget.kind = "activation"  # which has no such row
    assert widget.selected == ""
    with pytest.raises(traitlets.TraitError, match="no rank holds any 'buffer'; kinds that are held: parameter, grad"):
        widget.kind = "buffer"
    with pytest.raises(traitlets.TraitError, match="'blocks' is no row of this picture; those are blocks.0, blocks.1"):
        widget.selected = "blocks"


def test_what_tensors_hold_is_not_in_the_picture() -> None:
    """Their last digits depend on the processor: only whether copies are equal is told."""
    ranks = sample(zero=1)
    others = [replace(r, held=tuple(replace(held, content=held.content + 1) for held in r.held)) for r in ranks]
    assert ShardMap(others).pages == ShardMap(ranks).pages and repr(others) == repr(ranks) and others != ranks
    ids = [set(re.findall(r'id="([^"]+)"', page[2])) for page in ShardMap(ranks).pages]
    assert all(ids) and len(set.union(*ids)) == sum(map(len, ids))  # pictures can share a page


def test_without_a_kernel_there_is_the_picture() -> None:
    bundle, _ = ShardMap(sample(), kind="optimizer state")._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Who holds what: 4 ranks · mesh dp 2 × tp 2")
    still = ET.fromstring(bundle["image/svg+xml"])
    assert [node.text for node in still.iter(f"{SVG}title")] == [
        "Who holds what. 4 ranks · mesh dp 2 × tp 2 · 233 kB on each"
    ]
    described = still.find(f"{SVG}desc").text
    assert "each rank holds 1/4 of the optimizer state" in described and "3 (dp 1, tp 1)" in described
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", bundle["image/svg+xml"])


def test_marks_say_what_they_are() -> None:
    root = ET.fromstring(shard_map(Shards(sample(zero=1)), "optimizer state").svg)
    said = {
        (mark.get("data-row"), mark.get("data-rank")): mark.find(f"{SVG}title").text
        for mark in root.iter(f"{SVG}rect")
        if mark.find(f"{SVG}title") is not None
    }
    assert said[None, "3"].splitlines()[0] == "rank 3 · dp 1, tp 1 · 349 kB in all"
    assert "parameters: 115 kB of 230 kB, 1/2 · 256 bytes on no other rank" not in said[None, "3"]
    assert "parameters: 115 kB of 230 kB, 1/2 · other ranks have it too" in said[None, "3"]
    assert said["1", "3"].endswith("rank 3 · dp 1, tp 1: [96:192, 32:64] · 24.6 kB, 1/4 · no other rank has it")
    assert said["1", None].startswith("blocks.0.attention.weight · 192 × 64 · exp_avg, exp_avg_sq · float32 · 98.3 kB")


def test_names_that_xml_cannot_hold_are_drawn() -> None:
    held = replace(one(0, 0, 10, name='a<"&\x00').held[0], slot="")
    root = ET.fromstring(shard_map(Shards([RankHoldings(0, (held,))]), "parameter").svg)
    assert 'a<"&\ufffd' in [node.text for node in root.iter(f"{SVG}text")]
