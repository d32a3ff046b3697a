"""The board: rows of what each rank is in, read while another process writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.comm.status.shared_status import ROW_BYTES, Board, Row
from lab_utils.ranks.status import doing_text

CHANGES_SEEN = 200
# Every field of a row says the same number, so that halves of two rows would not agree; lengths differ.
WRITER = """
import itertools, sys
from lab_utils.comm.status.shared_status import Board, Row
board = Board(sys.argv[1])
for n in itertools.count():
    board.write(1, Row("in", float(n), f"op{n}", "g" * (n % 300) + str(n), n, f"[{n}]", f"cell:{n}"))
    if n == 0:
        print("writing", flush=True)
"""
TEXT = st.text(max_size=60)
ROWS = st.builds(
    Row, st.sampled_from(["idle", "computing", "in"]), st.floats(0, 1e9), TEXT, TEXT, st.integers(0, 2**40), TEXT, TEXT
)


@pytest.fixture
def board(tmp_path: Path):
    board = Board.create(tmp_path / "board", 3)
    yield board
    board.close()


def test_a_new_board_is_idle(board: Board) -> None:
    assert [board.read(rank).state for rank in range(3)] == ["idle"] * 3


def test_a_row_says_what_a_rank_is_in(board: Board) -> None:
    board.write(1, Row("in", 2.5, "all_reduce", "world", 7, "[4, 4]", "train.py:41"))
    assert doing_text(board.read(1)) == "in all_reduce #7 of shape [4, 4] on world (train.py:41)"
    assert [doing_text(board.read(rank)) for rank in (0, 2)] == ["idle", "idle"]
    for shape, said in (("[4] [8]", "all_reduce #7 of shapes [4] [8] on world"), ("", "all_reduce #7 on world")):
        assert Row("in", 2.5, "all_reduce", "world", 7, shape, "train.py:41").what == said


@given(st.lists(st.tuples(st.integers(0, 2), ROWS), min_size=1, max_size=8))
def test_each_rank_reads_as_it_was_last_written(tmp_path_factory, writes: list[tuple[int, Row]]) -> None:
    path = tmp_path_factory.mktemp("boards") / "board"
    writer, reader = Board.create(path, 3), Board(path)
    for rank, row in writes:
        writer.write(rank, row)
    last = dict(writes)
    assert {rank: reader.read(rank) for rank in last} == last
    writer.close()
    reader.close()


@given(st.integers(0, 3 * ROW_BYTES), st.sampled_from(["x", "é", "段", "🧵"]))
def test_a_long_row_keeps_what_names_the_op(tmp_path_factory, length: int, letter: str) -> None:
    """Names of a user's own can be of any length; a row must neither fail nor reach into the next rank's."""
    path = tmp_path_factory.mktemp("boards") / "board"
    board = Board.create(path, 2)
    board.write(1, Row("computing", 1.0))
    board.write(0, Row("in", 2.0, "all_reduce", letter * length, 9, letter * length, letter * length))
    row = board.read(0)
    assert (row.state, row.since_s, row.op, row.seq) == ("in", 2.0, "all_reduce", 9)
    assert row.group and (letter * length).startswith(row.group) or not length
    assert board.read(1) == Row("computing", 1.0)
    board.close()


def test_a_reader_never_sees_half_a_row(board: Board, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "board")], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert writer.stdout.readline() == "writing\n"
        seen, changes = [board.read(1)], 0
        while changes < CHANGES_SEEN:
            seen.append(board.read(1))
            changes += seen[-1] != seen[-2]
    finally:
        writer.kill()
        writer.communicate()
    for row in seen:
        n = row.seq
        assert row == Row("in", float(n), f"op{n}", "g" * (n % 300) + str(n), n, f"[{n}]", f"cell:{n}")
    assert [row.seq for row in seen] == sorted(row.seq for row in seen)


def test_a_rank_killed_while_it_wrote_is_named(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab_utils.comm.status.shared_status._READ_TIMEOUT_S", 0.1)
    content = bytearray((tmp_path / "board").read_bytes())
    content[2 * ROW_BYTES] |= 1  # an odd version: the row is being written, and nobody will finish it
    with open(tmp_path / "board", "r+b") as file:
        file.write(content)
    with pytest.raises(RuntimeError, match="^rank 2 was stopped while writing its row of the board"):
        board.read(2)
    assert board.read(1).state == "idle"
