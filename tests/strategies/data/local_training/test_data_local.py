"""Local SGD and DiLoCo: serial training where they must be, their own recurrences in numpy, bytes and loss."""

from __future__ import annotations

import data_local_programs as programs
import numpy as np
import pytest

from lab_utils.ranks import RankError, Ranks

FLOAT64 = 8


@pytest.mark.parametrize("how", ["LocalSGD(every=1)", "DiLoCo(every=1, outer_lr=1, outer_momentum=0)"])
@pytest.mark.parametrize("inner", ["sgd", "momentum"])
def test_synchronising_after_every_step_is_serial_training(ranks4: Ranks, how: str, inner: str) -> None:
    one = ranks4.run(programs.trained, "None", inner, 10)[0]["parameters"]
    for each in ranks4.run(programs.trained, how, inner, 10):
        assert each["parameters"].keys() == one.keys()
        for name, parameter in each["parameters"].items():
            np.testing.assert_allclose(parameter, one[name], rtol=0, atol=1e-14, err_msg=name)


def test_local_sgd_goes_on_from_the_mean(ranks4: Ranks) -> None:
    """Seven steps that synchronise after every third: after steps 3 and 6, and at no other time."""
    paths = np.array(ranks4.run(programs.path, "LocalSGD(every=3)", 7))  # [ranks, 1 + 2 steps, numel]
    for step in range(1, 8):
        alone, after = paths[:, 2 * step - 1], paths[:, 2 * step]
        expected = np.broadcast_to(alone.mean(axis=0), alone.shape) if step % 3 == 0 else alone
        np.testing.assert_allclose(after, expected, rtol=0, atol=1e-15)
        assert np.abs(alone[0] - alone[1]).max() > 1e-4


def test_diloco_goes_on_by_nesterov_s_momentum(ranks4: Ranks) -> None:
    """Sutskever et al. 2013 with momentum 0.9 and rate 0.7, on how far the mean has moved since the last round."""
    paths = np.array(ranks4.run(programs.path, "DiLoCo(every=2)", 8))
    synced, momentum = paths[0, 0], 0.0
    for step in range(2, 9, 2):
        moved = synced - paths[:, 2 * step - 1].mean(axis=0)
        momentum = 0.9 * momentum + moved
        synced = synced - 0.7 * (moved + 0.9 * momentum)
        np.testing.assert_allclose(paths[:, 2 * step], np.broadcast_to(synced, paths[:, 0].shape), rtol=0, atol=1e-14)


def test_steps_that_are_left_over_are_synchronised_when_asked(ranks2: Ranks) -> None:
    assert ranks2.run(programs.left_over) == [[False, True, False]] * 2


@pytest.mark.parametrize("how", ["LocalSGD(every=4)", "DiLoCo(every=4)"])
def test_a_quarter_of_the_bytes(ranks4: Ranks, how: str) -> None:
    """Against an all-reduce of the gradients in each of eight steps; both as recorded."""
    local, each_step = (
        ranks4.record(programs.trained, attached, "adamw", 8) for attached in (how, "Buckets(buffers=False)")
    )
    given = [sum(op.bytes for op in trace if op.name == "all_reduce") for trace in (local, each_step)]
    trained = sum(each.size for each in local.results[0]["gradients"].values())
    assert given[1] == 4 * given[0] == 4 * 8 * trained * FLOAT64
    assert sum(each["sent"] for each in local.results) == 2 * 3 * trained * FLOAT64 * 2  # 2 (n - 1) B, twice


def test_what_is_lost_in_loss(ranks4: Ranks) -> None:
    """48 steps of AdamW on real text; nats a token, the same on every run."""
    each_step, local, outer = (
        ranks4.run(programs.trained, how, "adamw", 48)[0]["held"]
        for how in ("Buckets()", "LocalSGD(every=8)", "DiLoCo(every=8)")
    )
    assert each_step < 3.2  # from 5.5
    assert each_step < local < each_step + 0.06
    assert each_step < outer < each_step + 0.25  # it has six rounds only, and its momentum has just begun


def test_never_to_synchronise_is_refused(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="every=0: ranks synchronise after every step, or after several"):
        ranks2.run(programs.trained, "LocalSGD(every=0)", "sgd", 1)
