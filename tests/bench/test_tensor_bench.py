"""The figures of tensor parallelism: both sides of a pair do the same step, and the lab sends no more."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

import lab_utils.ranks
from lab_utils.bench.figures_of import tensor
from lab_utils.bench.figures_of.strategies import LAB, TORCH, Size
from lab_utils.ranks import Ranks

SMALL = Size(layers=2, channels=16, batch=2)
WIDE = Size(layers=1, channels=256, batch=1)  # whose weights are more than what a process has free


@pytest.mark.parametrize("sequence", [False, True], ids=["", "sequence"])
def test_both_do_the_same(ranks2: Ranks, sequence: bool) -> None:
    lab, torch = (ranks2.run(tensor.steps, whose, SMALL, sequence, 3) for whose in (LAB, TORCH))
    assert lab == [pytest.approx(losses, rel=1e-4) for losses in torch]
    assert lab[0] == sorted(lab[0], reverse=True), "and they learn"


def test_each_figure_is_measured(ranks2: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_utils.ranks, "start_ranks", lambda size: nullcontext(ranks2))
    (sent,) = tensor.wire(SMALL, sequence=False)
    assert 0 < sent.measured <= sent.reference
    (held,) = tensor.peak(WIDE, sequence=False)
    assert held.measured > 0 and held.reference > 0
    (took,) = tensor.step(SMALL, sequence=False, count=1)
    assert took.measured > 0 and took.reference > 0
