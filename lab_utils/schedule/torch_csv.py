"""Read and write schedules as torch.distributed.pipelining's CSV: one line per rank, one cell per op, as `2F0`.

torch's B is this lab's BW (both backwards), and torch's I is this lab's B (the input's gradient alone).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO

from lab_utils.schedule.draft import Draft
from lab_utils.schedule.ops import BW, KINDS, B, F, Step, W

COMPUTES = {"F": F, "I": B, "W": W, "B": BW}  # torch's letters
SPELLED = {number: letter for letter, number in COMPUTES.items()}
CELL = re.compile(r"(\d+)(F|B|I|W)(\d+)")
PAIR = re.compile(r"\((.*)\)OVERLAP_F_B")
# Messages and gathers follow from the order of the compute ops: accepted in a file, and ignored.
OTHERS = re.compile(r"\d+(UNSHARD|RESHARD|REDUCE_GRAD|(SEND|RECV)_[FB])\d*")


def written(draft: Draft) -> str:
    """Return the CSV text, without messages ("compute_only"). ValueError for two copies of a stage."""
    if draft.copies > 1:
        raise ValueError(f"{draft.name} has {draft.copies} copies of each stage, and torch's files know one")
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for steps in draft.steps:
        writer.writerow([f"{stage}{SPELLED[kind]}{microbatch}" for kind, stage, microbatch in steps])
    return text.getvalue()


def read(text: str) -> list[list[Step]]:
    """Parse the steps of each rank, for `Schedule.of_steps`; pauses, messages and gathers are left out.

    An overlapped forward and backward, `(7F4;0B0)OVERLAP_F_B`, become two consecutive steps. ValueError names any
    other cell.
    """
    lines = list(csv.reader(StringIO(text)))
    return [list(_steps(line, rank)) for rank, line in enumerate(lines)]


def _steps(line: list[str], rank: int) -> Iterator[Step]:
    for place, cell in enumerate(line, start=1):
        pair = PAIR.fullmatch(cell.strip())
        for word in pair[1].split(";") if pair else [cell.strip()]:
            if found := CELL.fullmatch(word):
                yield COMPUTES[found[2]], int(found[1]), int(found[3])
            elif word and not OTHERS.fullmatch(word):
                kinds = ", ".join(f"{letter} for {KINDS[number]}" for letter, number in COMPUTES.items())
                raise ValueError(f"line {rank + 1}, cell {place}: {word!r} is no op of torch's: as 2F0, with {kinds}")
