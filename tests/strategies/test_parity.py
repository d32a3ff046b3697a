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
    assert "2 ranks equal serial" in repr(found) and "gradients (2 tensors): " in repr(found)
    one = {part: {"w": np.ones(2)} for part in ("gradients", "parameters")} | {"loss": 0.5}
    assert "gradients (1 tensor): " in repr(parity(one, [one]))
    assert repr(found) == repr(parity(snapshot(), [snapshot()] * 2))  # the same on every machine
    assert "parity: 1 rank equals serial" in parity(snapshot(), [snapshot()]).verdict


def test_the_place_and_the_size_of_a_difference():
    found = parity(snapshot(), [snapshot(), snapshot(gradient=(1.0, 8.0))])
    assert not found.equal
    assert [d.max_rel for d in found.differences] == [0.0, 3.0, 0.0]
    assert "no parity: loss differs from serial by 1 relative" in parity(snapshot(), [snapshot(loss=1.0)]).verdict
    assert found.verdict == "✗ no parity: gradients differ from serial by 3 relative, in layer.weight on rank 1"


def test_a_factor_is_said_as_checks_say_it():
    said = parity(snapshot(), [snapshot(), snapshot(gradient=(4.0, 8.0))]).verdict
    assert said == "✗ no parity: gradients are 4.00 × serial, in layer.weight on rank 1"
    drifted = parity(snapshot(), [snapshot(gradient=(0.25, 0.501))])
    assert drifted.verdict == "✗ no parity: gradients are 0.25 × serial, in layer.weight on rank 0"
    for gradient in ((4.0, 8.1), (1.004, 2.008)):  # no multiple, and none that two decimals show
        assert parity(snapshot(), [snapshot(gradient=gradient)]).differences[1].factor is None
    whole = parity(snapshot(), [snapshot(weight=(6.0, 8.0))])  # of parameters a factor says nothing
    assert "parameters differ from serial by 1 relative" in whole.verdict


def in_float32(off: float, kind: type = np.float32) -> dict:
    said = snapshot(weight=(3.0, 4.0 * (1 + off)))
    parameters = {name: value.astype(kind) for name, value in said["parameters"].items()}
    return {**said, "parameters": parameters}


def test_what_float32_rounds_to_is_told_of_with_what_to_do():
    serial, rounded = in_float32(0.0), in_float32(1e-6)
    found = parity(serial, [serial, rounded])
    assert not found.equal
    assert found.advice in repr(found) and found.advice in found._repr_html_()
    assert found.advice.startswith("all tensors are float32, which rounds at 1e-7, and the tolerance 1e-10 is for ")
    assert parity(serial, [serial, rounded], tolerance=1e-4).equal
    for right_or_no_rounding in (
        parity(serial, [serial]), parity(serial, [rounded], tolerance=1e-4), parity(serial, [in_float32(1e-3)]),
        parity(snapshot(), [in_float32(1e-6, np.float64)]),
    ):  # fmt: skip
        assert right_or_no_rounding.advice == "" and "float32" not in repr(right_or_no_rounding)


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


A_SNAPSHOT = "a snapshot is a dict with loss, gradients, parameters"
NO_LIST = "parity compares serial with a list of one snapshot per rank, and "
NONE, TEXT = {"fixed": [7.0], "layer.weight": None}, {"fixed": [7.0], "layer.weight": "x"}
WRONG = [
    (1, [snapshot()], f"serial is an int: {A_SNAPSHOT}"),
    (snapshot(), snapshot(), f"{NO_LIST}got a dict"),
    (snapshot(), 0.5, f"{NO_LIST}got a float"),
    (snapshot(), "train", f"{NO_LIST}got a str"),
    (snapshot(), [], f"{NO_LIST}the list is empty"),
    (snapshot(), [snapshot(), None], f"rank 1 is a NoneType: {A_SNAPSHOT}"),
    ({"loss": 1.0}, [snapshot()], f"serial has no gradients and no parameters: {A_SNAPSHOT}"),
    (snapshot(), [{**snapshot(), "gradients": NONE}], "layer.weight is None on rank 0: it has no tensor to compare"),
    ({**snapshot(), "gradients": TEXT}, [snapshot()], "layer.weight is a str in serial, and no tensor of real numbers"),
    ({**snapshot(), "gradients": {}}, [{**snapshot(), "gradients": {}}],
     "serial has no tensors in its gradients, so there is nothing to compare"),
]  # fmt: skip


@pytest.mark.parametrize(("serial", "ranks", "said"), WRONG)
def test_what_is_no_snapshot_is_refused_in_one_sentence(serial: object, ranks: object, said: str):
    with pytest.raises(ValueError) as refused:
        parity(serial, ranks)
    assert str(refused.value) == said


@pytest.mark.parametrize("tolerance", ["small", -1.0, math.nan, None])
def test_a_tolerance_is_a_number(tolerance: object):
    with pytest.raises(ValueError, match="it must be a number from 0 up, such as 1e-10"):
        parity(snapshot(), [snapshot()], tolerance)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "< 1e-12"), (3e-16, "< 1e-12"), (3e-5, "< 0.0001"), (0.5, "< 1"), (3.0, "< 10"), (math.inf, "not a number")],
)
def test_bounds(value: float, said: str):
    assert bound(value) == said
