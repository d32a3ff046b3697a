"""What a user does to the module of trainer_files, and what cells then have."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from lab_utils.ranks import Ranks
from lab_utils.ranks.calls.cell_names import Cell
from lab_utils.ranks.on_rank import entry_points
from lab_utils.ranks.shipping.surroundings import surroundings


def edit(module: types.ModuleType, before: str, after: str) -> None:
    file = Path(module.__file__)
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def run_cell(ranks: Ranks, source: str) -> None:
    """Run a `%%ranks` cell."""
    ranks.call(entry_points.run_cell, Cell("<cell>", "In [1]", source), False, True, surroundings())


def value(ranks: Ranks, expression: str) -> list[Any]:
    """What it is on each rank, in the namespace of the cells."""
    return ranks.run(f"lambda: {expression}")
