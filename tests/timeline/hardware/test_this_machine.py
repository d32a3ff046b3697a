"""This machine is measured: what its kernels count is what a recording counts, and the numbers come from the times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lab_utils.bench.figures_of import predicted
from lab_utils.ranks import Ranks
from lab_utils.timeline.hardware import ALGORITHMS, Device, Link, Wire, this_machine, wire_rows
from lab_utils.timeline.hardware.calibrate import on_ranks_compute, on_ranks_wire
from lab_utils.timeline.hardware.calibrate.on_ranks_compute import Shape, Took
from lab_utils.timeline.hardware.calibrate.on_ranks_wire import OPS, SIZES_BYTES
from lab_utils.timeline.hardware.calibrate.this_machine import Figure

SMALL = Shape(batch=2, sequence=8, channels=16, layers=2, words=32, heads=2)


class MadeUp:
    """Ranks that took as long as a known machine takes; each call is up to a tenth slower, by turns."""

    device = Device("known", 50e9, 10e9, launch_s=3e-6, issue_s=40e-6)
    link = Link("known", 100e-6, 2e9)
    size = 4
    hidden = 0.75

    def __init__(self) -> None:
        self.slower = iter(np.tile((1.0, 1.05, 1.1), 100_000))

    def run(self, function: Callable, *args: Any) -> list[Any]:
        answer = getattr(self, f"_{function.__name__}")
        return [answer(*args) for _ in range(self.size)]

    def _compute_seconds(self, shape: Shape, rounds: int) -> list[dict[str, Took]]:
        products_s = [1e9 / self.device.flops_per_s * next(self.slower) for _ in range(rounds)]
        return [
            {
                "products": Took(10**9, 10**6, 10, seconds),
                "others": Took(0, 10**8, 30, 1e8 / self.device.memory_bytes_per_s * next(self.slower)),
            }
            for seconds in products_s
        ]

    def _launch_seconds(self, rounds: int) -> list[float]:
        return [self.device.launch_s * next(self.slower) for _ in range(rounds)]

    def _issue_seconds(self, rounds: int) -> list[float]:
        return [self.device.issue_s * next(self.slower) for _ in range(rounds)]

    def _wire_seconds(self, names, sizes_bytes, rounds: int) -> list[list[float]]:
        wires = [Wire(name, size, tuple(range(self.size))) for name in names for size in sizes_bytes]
        wire_rounds, size_bytes = wire_rows(wires, None)[:, ALGORITHMS.index("gloo"), :2].T
        seconds = wire_rounds * self.link.latency_s + size_bytes / self.link.bytes_per_s
        return [(seconds * next(self.slower)).tolist() for _ in range(rounds)]

    def _overlap_seconds(self, size_bytes: int, channels: int, rounds: int) -> list[tuple[float, float, float]]:
        return [(1.0, 1.0, 2.0 - self.hidden)] * rounds


@pytest.fixture(scope="module")
def measured(ranks2: Ranks):
    return this_machine(ranks2, rounds=2, shapes=[SMALL])


# ---------------------------------------------------------------------- the arithmetic
def test_a_known_machine_is_found() -> None:
    found = this_machine(MadeUp(), rounds=6)
    device, link = found.hardware.device, found.hardware.link
    for name in ("launch_s", "issue_s"):
        assert getattr(device, name) == pytest.approx(1.05 * getattr(MadeUp.device, name))
    for name in ("flops_per_s", "memory_bytes_per_s"):
        assert getattr(device, name) == pytest.approx(getattr(MadeUp.device, name) / 1.05, rel=0.03)
    assert MadeUp.link.latency_s <= link.latency_s <= 1.1 * MadeUp.link.latency_s
    assert MadeUp.link.bytes_per_s / 1.1 <= link.bytes_per_s <= MadeUp.link.bytes_per_s
    assert found.hidden.median == pytest.approx(MadeUp.hidden)


def test_the_rank_that_came_last_tells_how_long_an_op_took() -> None:
    """Rank 0 waits 10 ms for the other in every op, which is not the wire's doing."""

    class Late(MadeUp):
        size = 2

        def run(self, function: Callable, *args: Any) -> list[Any]:
            first, last = super().run(function, *args)
            return [[[t + 0.01 for t in each] for each in first], last] if function.__name__ == "wire_seconds" else [
                first, last
            ]  # fmt: skip

    link = this_machine(Late(), rounds=6).hardware.link
    assert MadeUp.link.latency_s <= link.latency_s <= 1.1 * MadeUp.link.latency_s


def test_one_rank_has_no_link() -> None:
    alone = MadeUp()
    alone.size = 1
    with pytest.raises(ValueError, match="a link is between 2 ranks or more, and this is 1: start more"):
        this_machine(alone)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"ops": ("barrier", "all_reduce")}, "barrier cannot be timed, all_reduce, all_gather, reduce_scatter can"),
        ({"ops": ()}, "ops is empty"),
    ],
)
def test_what_cannot_be_timed_is_refused(asked: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        this_machine(MadeUp(), **asked)


def test_a_figure_says_how_noisy_it_is() -> None:
    steady = Figure.of("f", [10.0, 10.1, 9.9, 10.0], lambda value: f"{value:.2f} s")
    assert str(steady) == "10.00 s (9.97 s to 10.03 s)"
    noisy = Figure.of("f", [5.0, 10.0, 15.0], lambda value: f"{value:.1f} s")
    assert str(noisy) == "10.0 s (7.5 s to 12.5 s, noisy: ± 25%)"


# ---------------------------------------------------------------------- on real ranks
def count_a_step(shape: Shape) -> tuple[dict[str, Took], tuple[int, ...], float]:
    """What a step says of itself, what a recording counts of it, and the seconds of the whole."""
    import time

    import torch

    from lab_utils.comm.recorder.kernel_counter import KernelCounter, counting

    counter = KernelCounter()
    with torch.no_grad(), counting(counter):
        step = on_ranks_compute.Step(torch, shape)
        counter.take()
        began_s = time.perf_counter()
        took = step.run()
        whole_s = time.perf_counter() - began_s
        counts = counter.take()
    return took, (counts.flops, counts.bytes, counts.other_bytes, counts.kernels), whole_s


@pytest.mark.parametrize("shape", [SMALL, Shape(1, 4, 8, 1, words=8, heads=1), Shape(3, 5, 12, 3, words=7, heads=3)])
def test_a_timed_step_counts_as_a_recording_does(ranks2: Ranks, shape: Shape) -> None:
    for took, counted, whole_s in ranks2.run(count_a_step, shape):
        products, others = took["products"], took["others"]
        assert (products.flops, products.bytes, others.bytes, products.kernels + others.kernels) == counted
        assert others.flops == 0
        assert 0 < products.seconds + others.seconds < whole_s


@pytest.mark.parametrize("names", [OPS, OPS[:2]])
def test_ops_on_the_wire_are_the_ones_named(ranks2: Ranks, names: tuple[str, ...]) -> None:
    trace = ranks2.record(on_ranks_wire.wire_seconds, names, [64, 4096], 2)
    of_rank = [op for op in trace.ops[0] if op.kind == "collective" and op.name != "barrier"]
    whole = {"all_reduce": 1, "all_gather": 2, "reduce_scatter": 1}  # an all-gather is given half of it
    expected = [(name, size // whole[name]) for name in names for size in (64, 4096)]
    assert [(op.name, op.bytes) for op in of_rank] == 3 * expected
    assert [[len(times) for times in rounds] for rounds in trace.results] == [[len(expected)] * 2] * 2
    before_each = on_ranks_wire.BETWEEN_PRODUCTS * 2 * on_ranks_wire.BETWEEN_CHANNELS**3
    assert sum(op.flops for op in trace.ops[0]) == 3 * len(expected) * before_each


def test_this_machine(measured) -> None:
    device, link = measured.hardware.device, measured.hardware.link
    assert 1e8 < device.flops_per_s < 1e13
    assert 1e7 < device.memory_bytes_per_s < 1e13
    assert 1e-7 < device.launch_s < 1e-2
    assert 1e-7 < device.issue_s < 1e-1
    assert 0 <= link.latency_s < 1e-1
    assert 1e6 < link.bytes_per_s < 1e12
    assert 0 <= measured.hidden.median <= 1


def test_the_report_names_every_figure(measured) -> None:
    lines = repr(measured).splitlines()
    assert [line.split("  ")[0] for line in lines] == [f.name for f in (*measured.figures, measured.hidden)]
    assert all(" to " in line for line in lines)


def test_sizes_reach_from_latency_to_bandwidth() -> None:
    assert min(SIZES_BYTES) <= 4096
    assert max(SIZES_BYTES) >= 2**24


# ---------------------------------------------------------------------- predicted against measured
@pytest.mark.parametrize("bucket_mb", [0.01, 0.0], ids=["DDP", "FSDP2"])
def test_predicted_and_measured_are_of_the_same_step(
    ranks2: Ranks, bucket_mb: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicted, "CALIBRATED_ROUNDS", 2)
    monkeypatch.setattr(predicted, "SMALL_STEPS", 2)
    compared = predicted.compare(ranks2, predicted.Configuration(16, 1, 1, bucket_mb), steps=2, turns=1)
    assert 0 < compared.exposed_s < compared.step_s
    assert 0 < compared.predicted_exposed_s < compared.predicted_step_s
    assert ("FSDP2" if not bucket_mb else "DDP, buckets of 0.01 MB") in str(compared)


def test_what_is_judged_was_not_fitted() -> None:
    from lab_utils.timeline.hardware.calibrate.on_ranks_compute import SHAPES

    fitted = {(shape.channels, shape.layers, shape.batch) for shape in SHAPES}
    judged = [(c.channels, c.layers, c.batch) for c in predicted.CONFIGURATIONS]
    assert len(set(predicted.CONFIGURATIONS)) == 10
    assert fitted.isdisjoint(judged)
    assert {shape.channels for shape in SHAPES}.isdisjoint(c.channels for c in predicted.CONFIGURATIONS)


def test_an_error_is_relative_to_what_was_measured() -> None:
    compared = predicted.Compared(predicted.CONFIGURATIONS[0], 2.0, 1.5, 0.5, 1.0)
    assert (compared.step_error, compared.exposed_error) == (0.25, 1.0)
