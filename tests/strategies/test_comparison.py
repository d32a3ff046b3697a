"""The comparison of strategies: what is counted and predicted, from made-up runs and from real ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab_utils.ranks import Ranks
from lab_utils.render.table import Table
from lab_utils.strategies.comparison import NOT_TRAINING, SMOOTH, Ran, compare
from lab_utils.timeline import Op, Trace
from lab_utils.timeline.hardware import Device, Hardware, Link

DEVICE = Device("round numbers", flops_per_s=1e9, memory_bytes_per_s=1e9)
FAST, SLOW = (Hardware(DEVICE, Link(name, 0.0, speed), algorithm="ring") for name, speed in (("a", 1e6), ("b", 1e5)))
STEP_FLOPS, STEP_BYTES = 10**7, 1000  # 10 ms of computing; on 2 ranks a ring sends as many bytes: 1 ms and 10 ms


def trace(steps: int) -> Trace:
    """Getting ready takes 1 s; then each step computes, and all-reduces."""
    return Trace(tuple(tuple(_ops(rank, steps)) for rank in range(2)))


def _ops(rank: int, steps: int):
    yield Op(rank, "compute", "compute", flops=10**9, kernels=1, live_bytes=5, peak_bytes=7)
    for step in range(steps):
        yield Op(rank, "compute", "compute", flops=STEP_FLOPS, kernels=1, live_bytes=50, peak_bytes=100 + rank)
        yield Op(rank, "collective", "all_reduce", "world", (0, 1), step, bytes=STEP_BYTES)
    yield Op(rank, "compute", "compute", flops=1, kernels=1, live_bytes=5, peak_bytes=10**6, phase=NOT_TRAINING)


def ran(losses: list[float], held_out: float = 2.0) -> Ran:
    steps = len(losses)
    at_s = [0.5 * (i + 1) for i in range(steps)]
    told = {"at_s": at_s, "held_out": held_out, "step_flops": 2 * STEP_FLOPS}
    return Ran(
        trace(0), trace(4), 4, [{"losses": [loss + off for loss in losses], **told} for off in (-0.25, 0.25)], steps
    )


def test_a_step_is_predicted_without_getting_ready() -> None:
    (row,) = compare({"one": ran([4.0] * 9)}, below=3.0, on={"a": FAST, "b": SLOW}).rows
    assert row.on["a"].step_s == pytest.approx(0.011) and row.on["b"].step_s == pytest.approx(0.020)
    assert row.on["a"].exposed == pytest.approx(1 / 11) and row.on["b"].exposed == pytest.approx(0.5)
    assert row.on["a"].mfu == pytest.approx(10 / 11) and row.on["a"].waiting == 0
    assert row.sent_bytes == STEP_BYTES and row.held_bytes == 101


def test_blocked_on_the_wire_and_waiting_for_a_partner_are_told_apart() -> None:
    """Rank 1 computes 3 ms longer per step: rank 0 waits for it; both are blocked for 1 ms on the wire."""
    late = [
        replace(op, flops=op.flops + 3 * 10**6) if op.rank and op.flops == STEP_FLOPS else op
        for ops in trace(4).ops
        for op in ops
    ]
    few = Trace(tuple(tuple(op for op in late if op.rank == rank) for rank in range(2)))
    (row,) = compare({"one": replace(ran([4.0] * 9), few=few)}, below=3.0, on={"a": FAST}).rows
    assert row.on["a"].step_s == pytest.approx(0.014)
    assert row.on["a"].exposed == pytest.approx(1 / 14) and row.on["a"].waiting == pytest.approx(1.5 / 14)
    assert row.on["a"].mfu == pytest.approx(10 / 14)  # what rank 1 computes besides is not the model's


def test_the_loss_is_reached_when_its_mean_over_some_steps_is_below() -> None:
    losses = [4.0] * 10 + [2.0] * 10
    (row,) = compare({"one": ran(losses)}, below=3.01, on={"a": FAST}).rows
    slow = next(i + 1 for i in range(SMOOTH - 1, 20) if np.mean(losses[i + 1 - SMOOTH : i + 1]) < 3.01)
    assert row.steps == slow == 14 and row.measured_s == pytest.approx(0.5 * 14)


@pytest.mark.parametrize("losses", [[4.0] * 20, [2.0] * (SMOOTH - 1)])
def test_a_loss_that_is_not_reached_is_said(losses: list[float]) -> None:
    compared = compare({"one": ran(losses)}, below=3.0, on={"a": FAST})
    assert compared.rows[0].steps is None and compared.rows[0].measured_s is None
    assert repr(compared).splitlines()[1].split()[1] == "-"
    assert repr(compared.measured).splitlines()[1].split() == ["one", "-", "101", "bytes"]


def test_runs_that_were_not_judged_are_one_sentence() -> None:
    whole = ran([4.0] * 9)
    run = replace(whole, results=[{**each, "held_out": None, "step_flops": None} for each in whole.results])
    with pytest.raises(ValueError, match=r"^two ran with judge=False: .* run it with judge=True$"):
        compare({"one": whole, "two": run}, below=3.0, on={"a": FAST})


def test_several_losses_a_step_and_ranks_without_any() -> None:
    """As an asynchronous server has them: two updates a step, noted on rank 0 only."""
    told = {"losses": [5.0, 3.0] * 10, "at_s": list(range(1, 21)), "held_out": 2.0, "step_flops": 2 * STEP_FLOPS}
    run = Ran(trace(0), trace(4), 4, [told, {**told, "losses": None, "at_s": []}], 10)
    (row,) = compare({"one": run}, below=4.5, on={"a": FAST}).rows
    assert row.steps == SMOOTH and row.measured_s == 2 * SMOOTH


def test_words_and_html_say_the_same() -> None:
    compared = compare({"one": ran([4.0] * 10 + [2.0] * 10), "two": ran([4.0] * 20)}, below=3.01, on={"a": FAST})
    head, first, second = repr(compared.counted).splitlines()
    assert head.startswith("strategy") and "steps to 3.01" in head
    assert first.split()[:3] == ["one", "14", "2.00"] and second.split()[:2] == ["two", "-"]
    head, first, second = repr(compared.report("a")).splitlines()
    assert head.split() == "strategy per step exposed waiting MFU to 3.01 held-out loss".split()
    assert first.split() == "one 11.0 ms 9.1 % 0.0 % 90.9 % 154 ms 2.00".split()
    assert second.split()[-2:] == ["-", "2.00"]
    assert repr(compared.counted) in repr(compared) and repr(compared.report("a")) in repr(compared)
    html = compared._repr_html_()
    assert html.count("<tr>") == 6 and html.count('scope="row"') == 4 and "154 ms" in html
    assert compared.times_s("a") == {"one": pytest.approx(0.154)}


def test_nothing_to_compare_and_hardware_that_computes_as_measured_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({}, 3.0, {"a": FAST})
    with pytest.raises(ValueError, match="a has no device"):
        compare({"one": ran([4.0] * 9)}, 3.0, {"a": Hardware(None, Link("a", 0, 1e6))})


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="a row has 1 cells where the header has 2: x"):
        Table(["a", "b"], [["x"]])


# ---------------------------------------------------------------------- real ranks
STEPS = 4
EXACT = ("one by one", "flat", "buckets", "ZeRO-1", "ZeRO-2", "ZeRO-3", "server", "two-level")


def raced(strategy: str, steps: int) -> dict:
    from lab_utils.strategies.data.compared.training import race

    return race(strategy, steps)


def left_over(strategy: str) -> int:
    """How many parameters more there are, once a strategy's objects are out of use."""
    import gc

    from torch import nn

    def count() -> int:
        gc.collect()
        return sum(isinstance(each, nn.Parameter) for each in gc.get_objects())

    before = count()
    raced(strategy, 2)
    return count() - before


def contenders() -> list[str]:
    from lab_utils.strategies.data.compared.strategies import CONTENDERS

    return list(CONTENDERS)


def serial_losses() -> list[float]:
    import torch

    from lab_utils.gpt import GPT
    from lab_utils.strategies import serial
    from lab_utils.strategies.data.compared import training

    blocks, _ = training.text()
    torch.manual_seed(0)
    model = GPT(training.CONFIG).double()
    optimizer = torch.optim.AdamW(model.parameters(), training.LEARNING_RATE)
    return [serial.step(model, optimizer, *training._part(blocks, i, 0, 1)).item() for i in range(STEPS)]


@pytest.fixture(scope="module")
def all_raced(ranks4: Ranks) -> dict[str, list[dict]]:
    return {name: ranks4.run(raced, name, STEPS) for name in ranks4.run(contenders)[0]}


def test_the_exact_ones_have_serial_s_losses(ranks4: Ranks, all_raced: dict[str, list[dict]]) -> None:
    expected = ranks4.run(serial_losses)[0]
    for name in EXACT:
        losses = np.mean([result["losses"] for result in all_raced[name] if result["losses"]], axis=0)
        np.testing.assert_allclose(losses, expected, rtol=1e-10, err_msg=name)


def test_the_others_learn_too_and_all_ranks_end_alike(all_raced: dict[str, list[dict]]) -> None:
    for name, results in all_raced.items():
        told = [result["losses"] for result in results if result["losses"]]
        assert np.mean([losses[-1] for losses in told]) < np.mean([losses[0] for losses in told]) - 0.2, name
        assert np.ptp([result["held_out"] for result in results]) < 1e-12, name


@pytest.mark.parametrize("strategy", ["buckets", "ZeRO-2", "ZeRO-3", "DiLoCo, every 8", "server"])
def test_nothing_is_kept_of_a_strategy_out_of_use(ranks4: Ranks, strategy: str) -> None:
    assert ranks4.run(left_over, strategy) == [0] * 4


def test_mfu_counts_the_model_s_flops_alone(ranks4: Ranks) -> None:
    """Buckets compute what serial training does; PowerSGD's own products take time, and are no use of the model."""
    runs, done = {}, {}
    for name in ("buckets", "PowerSGD, rank 4"):
        ready, few = (ranks4.record(raced, name, n) for n in (0, 2))
        runs[name] = Ran(ready, few, 2, ranks4.run(raced, name, SMOOTH), SMOOTH)
        done[name] = (sum(op.flops for op in few) - sum(op.flops for op in ready)) / 2
    exact, compressed = (row.on["a"] for row in compare(runs, below=9.0, on={"a": FAST}).rows)
    assert done["buckets"] == runs["buckets"].results[0]["step_flops"] < done["PowerSGD, rank 4"]
    assert exact.mfu * exact.step_s == pytest.approx(done["buckets"] / 4 / DEVICE.flops_per_s)
    assert compressed.mfu * compressed.step_s == pytest.approx(exact.mfu * exact.step_s)


def test_recorded_without_a_step_and_with_some(ranks4: Ranks) -> None:
    """The asynchronous server answers each of six gradients but the last, then closes, as it does without a step."""
    name = "server, asynchronous"
    run = Ran(ranks4.record(raced, name, 0), ranks4.record(raced, name, 2), 2, ranks4.run(raced, name, 8), 8)
    (row,) = compare({name: run}, below=9.0, on={"a": FAST}).rows
    assert row.steps == SMOOTH
    whole = max(op.bytes for op in run.few if op.kind == "send")
    assert 5 / 2 * whole <= row.sent_bytes < 5 / 2 * whole + 100  # and notes of 16 bytes
