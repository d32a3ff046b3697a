"""The figures of the pipeline: both sides of a pair do the same step, and are measured in turns."""

from __future__ import annotations

import pytest

from lab_utils.bench.figures_of import pipeline
from lab_utils.ranks import Ranks

SMALL = {"LAYERS": 4, "CHANNELS": 16, "BLOCK": 8}


def losses(names: list[str]) -> list[list[tuple[float, float]]]:
    """Of each schedule and two steps, the lab's loss and torch's; where torch has none, the lab's twice."""
    from unittest.mock import patch

    found = []
    with patch.multiple(pipeline, **SMALL):
        for name in names:
            steps = pipeline.lab_step(name), pipeline.torch_step(name)
            pairs = [[step() for step in steps] for _ in range(2)]
            found.append([(lab.item(), lab.item() if torchs is None else torchs.item()) for lab, torchs in pairs])
    return found


def turns() -> list[tuple[float, float]]:
    from unittest.mock import patch

    with patch.multiple(pipeline, **SMALL):
        return pipeline.in_turns("gpipe", 1)


def test_both_do_the_same(ranks2: Ranks) -> None:
    for name, found in zip(pipeline.SCHEDULES, ranks2.run(losses, list(pipeline.SCHEDULES))[1], strict=True):
        of_lab, of_torch = zip(*found, strict=True)
        assert of_lab == pytest.approx(of_torch, rel=1e-5), name
        assert of_lab[1] < of_lab[0], name  # what the first step's gradients did


def test_in_turns(ranks2: Ranks) -> None:
    by_rank = ranks2.run(turns)
    assert [len(turns) for turns in by_rank] == [1, 1]
    assert all(lab_s > 0 and torch_s > 0 for turns in by_rank for lab_s, torch_s in turns)
