"""The figures of tensor parallelism: both sides of a pair do the same step, and the lab sends no more."""

from __future__ import annotations

import pytest

from lab_utils.bench.figures_of import tensor
from lab_utils.bench.figures_of.strategies import LAB, TORCH, Size
from lab_utils.ranks import Ranks
from lab_utils.timeline.simulator.sent_bytes import sent_bytes

SMALL = Size(layers=2, channels=16, batch=2)


def test_both_do_the_same_and_the_lab_sends_no_more(ranks2: Ranks) -> None:
    lab, torch = (ranks2.record(tensor.steps, whose, SMALL, 3) for whose in (LAB, TORCH))
    assert lab.results == [pytest.approx(losses, rel=1e-4) for losses in torch.results]
    assert lab.results[0] == sorted(lab.results[0], reverse=True), "and it learns"
    assert sent_bytes(lab).max() <= sent_bytes(torch).max()
