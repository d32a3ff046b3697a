"""Sentences about the ranks of a RanksStatus: how many they are, which are gone and which are stopped."""

from __future__ import annotations

from collections.abc import Sequence

from lab_utils.text import counted, name_ranks
from lab_utils.widgets.ranks_status import words


def title(count: int) -> str:
    """Return the table's title."""
    return words.TITLE_OF_ONE if count == 1 else words.TITLE.format(ranks=counted(count, "rank"))


def status_of(count: int) -> str:
    """Return the widget's name."""
    return words.STATUS_OF.format(ranks=counted(count, "rank"))


def gone(ranks: Sequence[int]) -> str:
    """Return which ranks are gone, and what starts them again."""
    return _of(ranks, words.ONE_GONE, words.SOME_GONE)


def stopped(ranks: Sequence[int]) -> str:
    """Return which ranks a signal stopped, and what continues them."""
    return _of(ranks, words.ONE_STOPPED, words.SOME_STOPPED)


def _of(ranks: Sequence[int], one: str, some: str) -> str:
    return (one if len(ranks) == 1 else some).format(ranks=name_ranks(ranks).capitalize())
