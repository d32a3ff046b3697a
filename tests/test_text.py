"""Lists and tables as people read them."""

from __future__ import annotations

from lab_utils.render.kit import short, text_width
from lab_utils.text import columns, counted, listed, numbered, verb


def test_one_or_several_are_counted_and_named() -> None:
    assert [numbered("chunk", chunks) for chunks in ([2], [0, 1, 3])] == ["chunk 2", "chunks 0, 1, 3"]
    assert [listed(list(names)) for names in ("a", "abc", "abcde")] == ["a", "a, b, c", "a, b, c and 2 more"]
    assert [counted(count, "rank") for count in range(3)] == ["0 ranks", "1 rank", "2 ranks"]
    assert [counted(count, "batch") for count in (1, 2)] == ["1 batch", "2 batches"]
    assert [verb(count, "need") for count in range(3)] == ["need", "needs", "need"]
    assert [verb(1, "are"), verb(2, "are"), verb(1, "were"), verb(2, "were")] == ["is", "are", "was", "were"]


def test_cells_stand_below_each_other() -> None:
    lines = [("rank", "bytes"), ("0", "8"), ("10", "")]
    assert columns(lines) == ["rank  bytes", "0     8", "10"]
    assert columns(lines, others=str.rjust) == ["rank  bytes", "0         8", "10"]
    assert columns(lines, str.rjust, str.rjust) == ["rank  bytes", "   0      8", "  10"]


def test_what_is_too_wide_is_cut_in_the_middle() -> None:
    name = "blocks.0.attention.projection.weight"
    assert short(name, 1000, 11) == name
    cut = short(name, 120, 11)
    assert text_width(cut, 11) <= 140 and cut.startswith("block") and cut.endswith("weight") and "…" in cut
