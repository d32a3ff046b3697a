"""Four ranks for the examples of several pages: what a page starts and stops lives on, without the page's names."""

from __future__ import annotations

from typing import Any

START = "start_ranks(4)"  # in the pages that share them

KNOWN = "_known = {*globals(), '_known'}"
FORGET = "for _name in {*globals()} - _known: del globals()[_name]"
# Cells of the kernel: before the first page, and after each.
BEGIN = f"import kept_ranks\nkept_ranks.keep()\n{KNOWN}"
BETWEEN = f"kept_ranks.forget()\n{FORGET}\nassert 'ranks' not in globals()"

_kept: list[Any] = []


def keep() -> None:
    """From now on `start_ranks(4)` gives the same ranks each time, and they are not stopped."""
    import lab_utils
    from lab_utils.ranks import Ranks, start_ranks

    def started(size: int) -> Ranks:
        assert size == 4
        return _kept[0]

    _kept.append(start_ranks(4))
    _on_ranks(KNOWN)
    lab_utils.start_ranks = started
    Ranks.stop = lambda self: None


def forget() -> None:
    _on_ranks(FORGET)


def _on_ranks(source: str) -> None:
    from lab_utils.ranks.calls.cell_names import Cell
    from lab_utils.ranks.on_rank import entry_points

    _kept[0].call(entry_points.run_cell, Cell("kept_ranks.py", "kept_ranks", source))
