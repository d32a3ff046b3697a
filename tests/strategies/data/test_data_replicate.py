"""Threads instead of ranks, and the documents' worked example: both equal serial training."""

from __future__ import annotations

import math

import pytest

from lab_utils.ranks import RankError, Ranks
from lab_utils.strategies.parity import parity


def trained(devices: int) -> dict:
    """What parity compares after 8 AdamW steps on 7 samples; devices 0 is serial."""
    import data_programs

    from lab_utils.strategies import serial
    from lab_utils.strategies.data.one_process_threads import DataParallel

    model, optimizer, _ = data_programs.make("serial", None, seed=0)
    forward = DataParallel(model, ["cpu"] * devices) if devices else model
    for x, y in data_programs.batches(data_programs.STEPS):
        loss = serial.step(forward, optimizer, x, y)
    return serial.snapshot(model, loss)


def trained_apart(devices_of_rank: tuple[int, int]) -> dict:
    """Each rank on its own, with so many devices."""
    import torch.distributed as dist

    return trained(devices_of_rank[dist.get_rank()])


@pytest.fixture(scope="module")
def by_devices(ranks2: Ranks) -> dict[int, dict]:
    pairs = (0, 2), (3, 10)
    return {
        devices: each for pair in pairs for devices, each in zip(pair, ranks2.run(trained_apart, pair), strict=True)
    }


@pytest.mark.parametrize("devices", [2, 3, 10])
def test_threads_equal_serial(by_devices: dict[int, dict], devices: int) -> None:
    """Uneven parts, tied weights, a frozen layer; with 10 devices for 7 samples some have none."""
    found = parity(by_devices[0], [by_devices[devices]], tolerance=1e-10)
    assert found.equal, found
    assert found.differences[2].tensors > found.differences[1].tensors > 40


def by_messages(steps: int) -> list[dict]:
    """Per step with a rank per device: whether the logits are serial's, what parity compares, and serial's."""
    import copy

    import data_programs
    import torch

    from lab_utils.strategies import serial
    from lab_utils.strategies.data import one_process_on_ranks

    model = data_programs.tied().requires_grad_(True)
    reference = copy.deepcopy(model)
    adam, other = (torch.optim.AdamW(each.parameters(), 0.01) for each in (model, reference))
    found = []
    for x, y in data_programs.batches(steps):
        logits = one_process_on_ranks.step(model, adam, x[:4], y[:4])
        expected = reference(x[:4])[0]
        same = logits is None or torch.allclose(logits, expected)
        loss = serial.step(reference, other, x[:4], y[:4])
        found.append((same, serial.snapshot(model, loss), serial.snapshot(reference, loss)))
    return found


def test_ranks_in_place_of_devices_equal_serial(ranks4: Ranks) -> None:
    for same, first, reference in ranks4.run(by_messages, 2)[0]:
        assert same and parity(reference, [first]).equal


def watched() -> dict:
    """What a module sees that notes its modes and its input, and waits until there are two of it."""
    import threading

    import torch
    from torch import nn

    from lab_utils.strategies.data.one_process_threads import DataParallel

    seen, both = [], threading.Barrier(2)

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            both.wait()
            self.count += 1
            modes = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
            seen.append((modes, x.flatten().tolist()))
            return self.scale * 2.0 * x, (x + 1).mean()

    model = Watch()
    parallel = DataParallel(model, ["cpu"] * 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scaled, mean = parallel(torch.arange(3.0)[:, None])
    return {
        "output": scaled.flatten().tolist(),
        "mean": mean.item(),
        "parts": sorted(part for _, part in seen),
        "modes": {modes for modes, _ in seen} == {(False, True, torch.bfloat16)},
        "count": model.count.item(),
        "names": list(model.state_dict()),
    }


def test_parts_run_at_once_in_the_modes_of_the_caller(ranks2: Ranks) -> None:
    assert ranks2.run(watched)[0] == {
        "output": [0.0, 2.0, 4.0],
        "mean": 2.0,  # 1.5 of two samples and 3.0 of one
        "parts": [[0.0, 1.0], [2.0]],
        "modes": True,
        "count": 1.0,  # of the first replica only
        "names": ["scale", "count"],
    }


def wide() -> None:
    import torch
    from torch import nn

    from lab_utils.strategies.data.one_process_threads import DataParallel

    DataParallel(nn.Linear(2, 1), ["cpu"] * 2)(torch.ones(4, 3))


def test_what_a_thread_raises_is_raised(ranks2: Ranks) -> None:
    with pytest.raises(RankError, match="mat1 and mat2 shapes cannot be multiplied"):
        ranks2.run(wide)


def curve(parallel: bool, **example: object) -> tuple[dict, list]:
    import torch.distributed as dist

    from lab_utils.strategies.data.worked_example import Example, train

    place = {"rank": dist.get_rank(), "ranks": dist.get_world_size()} if parallel else {}
    model, losses = train(Example(**example), **place)
    return losses, [p.detach() for p in model.parameters()]


@pytest.mark.parametrize(
    "batch", [32, 33, 799]
)  # 25 batches; a rank has 8 and a rank 9 samples; the last batch is of 1
def test_the_worked_example_has_one_curve(ranks2: Ranks, ranks4: Ranks, batch: int) -> None:
    serial, weights = ranks2.run(curve, False, batch=batch, epochs=3)[0]
    for ranks in (ranks2, ranks4):
        for losses, parameters in ranks.run(curve, True, batch=batch, epochs=3):
            assert losses == {name: pytest.approx(values, rel=1e-10) for name, values in serial.items()}
            for a, b in zip(parameters, weights, strict=True):
                assert abs(a - b).max() < 1e-10


def test_the_worked_example_learns(ranks2: Ranks) -> None:
    losses, parameters = ranks2.run(curve, True)[0]
    assert [p.shape for p in parameters] == [(100, 10), (100,), (1, 100), (1,)]
    assert losses["held_out"][-1] < 0.05 < 0.08 < losses["held_out"][0]
    assert len(losses["held_out"]) == 10


def test_nobody_learns_labels_drawn_at_random(ranks2: Ranks) -> None:
    """Their variance is 1/12, less than which the documents' printed log claims on held-out samples."""
    losses, _ = ranks2.run(curve, False, is_noise=True, epochs=50)[0]
    assert losses["trained"][-1] < 1 / 12 < losses["trained"][0]
    assert math.isclose(min(losses["held_out"]), 1 / 12, rel_tol=0.05)


def split() -> list:
    from lab_utils.strategies.data.worked_example import Example, data

    (x, y), (held_x, held_y) = data(Example())
    again = data(Example())[1][0]
    return [x.shape, y.shape, held_x.shape, held_y.shape, bool((again == held_x).all())]


def test_the_worked_examples_numbers(ranks2: Ranks) -> None:
    assert [tuple(shape) for shape in ranks2.run(split)[0][:4]] == [(800, 10), (800, 1), (200, 10), (200, 1)]
    assert ranks2.run(split)[0][4]
