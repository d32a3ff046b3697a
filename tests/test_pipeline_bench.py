"""The figures of the pipeline: both sides of a pair do the same step, and are measured in turns."""

from __future__ import annotations

import pytest

from lab_utils.bench import pipeline
from lab_utils.ranks import Ranks


def losses(name: str) -> list[tuple[float, float]]:
    """Of two steps, the lab's loss and torch's; where torch has none, the lab's twice."""
    steps = pipeline.lab_step(name), pipeline.torch_step(name)
    found = []
    for _ in range(2):
        lab, torchs = (step() for step in steps)
        found.append((lab.item(), lab.item() if torchs is None else torchs.item()))
    return found


@pytest.mark.parametrize("name", pipeline.SCHEDULES)
def test_both_do_the_same(ranks2: Ranks, name: str) -> None:
    of_lab, of_torch = zip(*ranks2.run(losses, name)[1], strict=True)
    assert of_lab == pytest.approx(of_torch, rel=1e-5)
    assert of_lab[1] < of_lab[0]  # what the first step's gradients did


def test_in_turns(ranks2: Ranks) -> None:
    by_rank = ranks2.run(pipeline.in_turns, "gpipe", 1)
    assert [len(turns) for turns in by_rank] == [1, 1]
    assert all(lab_s > 0 and torch_s > 0 for turns in by_rank for lab_s, torch_s in turns)
