"""Parity says equal only of what is equal, and names where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lab_utils.strategies.parity import bound, parity


def snapshot(gradient=(1.0, 2.0), weight=(3.0, 4.0), loss=0.5) -> dict:
    fixed = np.array([7.0])
    gradients = {"fixed": fixed, "layer.weight": np.array(gradient)}
    return {"loss": loss, "gradients": gradients, "parameters": {"fixed": fixed, "layer.weight": np.array(weight)}}


def test_equal_is_equal_and_rounding_is_not_shown():
    found = parity(snapshot(), [snapshot(), snapshot(gradient=(1.0 + 1e-15, 2.0))])
    assert found.equal
    assert "2 ranks equal serial" in repr(found)
    assert repr(found) == repr(parity(snapshot(), [snapshot()] * 2))  # the same on every machine
    assert "parity: 1 rank equals serial" in parity(snapshot(), [snapshot()]).verdict


def test_the_place_and_the_size_of_a_difference():
    found = parity(snapshot(), [snapshot(), snapshot(gradient=(1.0, 8.0))])
    assert not found.equal
    assert [d.max_rel for d in found.differences] == [0.0, 3.0, 0.0]
    assert "no parity: loss differs from serial by 1 relative" in parity(snapshot(), [snapshot(loss=1.0)]).verdict
    assert found.verdict == "✗ no parity: gradients differ from serial by 3 relative, in layer.weight on rank 1"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("side", ["serial", "rank", "both"])
def test_nothing_equals_a_diverged_run(bad: float, side: str):
    diverged = snapshot(gradient=(bad, 2.0))
    serial, rank = (diverged if side in (name, "both") else snapshot() for name in ("serial", "rank"))
    assert not parity(serial, [snapshot() if side == "serial" else rank]).equal
    assert not parity(snapshot(loss=bad), [snapshot(loss=bad)]).equal


def test_other_tensors_or_shapes_are_refused():
    other = snapshot()
    other["gradients"] = {"fixed": np.array([7.0])}
    with pytest.raises(ValueError, match="rank 1 and serial do not hold the same tensors: layer.weight"):
        parity(snapshot(), [snapshot(), other])
    with pytest.raises(ValueError, match=r"layer.weight is \[3\] on rank 0 and \[2\] in serial"):
        parity(snapshot(), [snapshot(weight=(3.0, 4.0, 5.0))])


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "< 1e-12"), (3e-16, "< 1e-12"), (3e-5, "< 0.0001"), (0.5, "< 1"), (3.0, "< 10"), (math.inf, "not a number")],
)
def test_bounds(value: float, said: str):
    assert bound(value) == said
