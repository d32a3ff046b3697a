"""Judge a version of the reader's function, as a %%ranks cell and a check do."""

from __future__ import annotations

from lab_utils.exercises import Card, check, solution
from lab_utils.ranks import Ranks
from lab_utils.ranks.calls.cell_names import Cell
from lab_utils.ranks.on_rank import entry_points

FUNCTIONS = {
    "00.4": "my_all_gather",
    "00.5": "ring_all_gather",
    "00.7": "swap",
    "00.8": "total",
    "00.9": "my_reduce_scatter",
    "01.3": "step",
    "01.4": "replicate",
    "01.5": "my_shard",
    "01.7": "my_accumulate",
    "01.8": "my_order",
    "01.9": "my_gradients",
    "01.11": "my_zero1",
    "01.12": "my_clip",
    "01.15": "my_compress",
    "01.16": "my_buckets",
    "01.20": "my_local_sgd",
    "01.19": "my_server",
    "03.9": "my_step",
    "03.10": "my_run",
    "03.11": "my_backward",
    "03.12": "my_tied",
    "03.14": "my_1f1b",
    "01.17": "my_token_gradients",
    "01.18": "my_zero3",
}


def judged(ranks: Ranks, exercise: str, source: str) -> Card:
    """Return the card after a %%ranks cell with this source, whose first line is the cell's second."""
    define(ranks, source)
    return check(exercise, ranks, FUNCTIONS[exercise])


def assert_open(ranks: Ranks, exercise: str, source: str) -> None:
    """A stub counts as not answered, also on ranks that were cut off by the first check and have joined again."""
    for _ in range(2):
        assert judged(ranks, exercise, source) == check(exercise, ...)


def assert_right(ranks: Ranks, exercise: str, source: str) -> None:
    card = judged(ranks, exercise, source)
    assert card.right, card
    assert card == solution(exercise)


def changed(source: str, *pairs: tuple[str, str]) -> str:
    """Return the source with some of its lines replaced, each of which stands in it exactly once."""
    for old, new in pairs:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def define(ranks: Ranks, source: str) -> None:
    ranks.call(entry_points.run_cell, Cell("cell.py", "In [1]", "\n" + source))
