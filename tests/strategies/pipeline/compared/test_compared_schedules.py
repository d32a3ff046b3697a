"""The comparison of schedules: bubbles of placed steps by hand, tables of made-up runs, and real ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab_utils.ranks import Ranks
from lab_utils.schedule import Costs, schedules, simulate
from lab_utils.strategies.comparison import Ran
from lab_utils.strategies.pipeline import bubble
from lab_utils.strategies.pipeline.compared.table import compare_schedules
from lab_utils.text import time_text
from lab_utils.timeline import Trace
from lab_utils.timeline.hardware import Device, Hardware, Link
from lab_utils.timeline.ops import Phase

DEVICE = Device("round numbers", flops_per_s=1e9, memory_bytes_per_s=1e9, launch_s=1e-6)
ON = {name: Hardware(DEVICE, Link(name, 1e-6, speed), algorithm="ring") for name, speed in (("a", 1e8), ("b", 1e6))}
STEPS = 8


# ---------------------------------------------------------------------- bubbles
def placed(schedule, steps: int = 1, later_s: float = 0.0) -> Trace:
    """A trace whose phases are a schedule's ops as simulated, step after step."""
    costs = Costs(0.01, 0.01, 0.01)
    t = simulate(schedule, costs)
    phases: list[list[Phase]] = [[] for _ in range(schedule.ranks)]
    for step in range(steps):
        for span in t.spans:
            op, off = span.op, step * (t.makespan_s + later_s)
            name = f"{op.phase}{op.microbatch} stage {op.stage}"
            phases[span.rank].append(Phase(span.rank, name, span.start_s + off, span.end_s + off))
    return Trace(tuple(() for _ in phases), tuple(map(tuple, phases)))


@pytest.mark.parametrize("name", ["gpipe", "one_f_one_b", "zb_h1", "zb_h2"])
def test_the_bubble_of_an_executed_step_is_the_schedule_s(name: str) -> None:
    schedule = schedules.BY_NAME[name](4, 8)
    t = simulate(schedule, Costs(0.01, 0.01, 0.01))
    for step in (0, 1, -1):
        found = bubble(placed(schedule, steps=2, later_s=0.5), step)
        assert found == pytest.approx((t.bubble_fraction, t.bubble_rate))


def test_fraction_and_rate_differ_where_ranks_start_one_after_the_other() -> None:
    found = bubble(placed(schedules.zb_h2(4, 8)))
    assert found.rate == pytest.approx(0, abs=1e-12) and found.fraction > 0.1


def test_a_trace_without_a_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="no pipeline ran in this trace"):
        bubble(Trace(((), ()), ((), ())))


# ---------------------------------------------------------------------- real ranks
def raced(schedule, steps: int, judge: bool = True) -> dict:
    from lab_utils.strategies.pipeline.compared.training import race

    return race(schedule, steps, judge)


def serial_losses() -> list[float]:
    import torch

    from lab_utils.strategies import serial
    from lab_utils.strategies.comparison_task import LEARNING_RATE, text
    from lab_utils.strategies.pipeline.compared import training

    model, (blocks, _) = training.model(), text()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    return [serial.step(model, optimizer, *training.batch(blocks, i)).item() for i in range(STEPS)]


@pytest.fixture(scope="module")
def runs(ranks2: Ranks) -> dict[str, Ran]:
    made = {}
    for schedule in (schedules.gpipe(2, 4), schedules.one_f_one_b(2, 4), schedules.zb_v(2, 4)):
        ready, few = (ranks2.record(raced, schedule, n, judge=False) for n in (0, 2))
        made[schedule.name] = Ran(ready, few, 2, ranks2.run(raced, schedule, STEPS), STEPS)
    return made


def test_every_schedule_has_serial_s_losses(ranks2: Ranks, runs: dict[str, Ran]) -> None:
    expected = ranks2.run(serial_losses)[0]
    for name, ran in runs.items():
        for result in ran.results:
            np.testing.assert_allclose(result["losses"], expected, rtol=1e-10, err_msg=name)
        assert np.ptp([result["held_out"] for result in ran.results]) < 1e-12, name
        assert ran.results[0]["held_out"] < expected[0] - 0.5, name


def _computed(ran: Ran) -> float:
    """FLOPs of all ranks in a recorded step."""
    few, ready = (sum(op.flops for op in trace) for trace in (ran.few, ran.ready))
    return (few - ready) / ran.few_steps


def test_tables_of_real_runs(runs: dict[str, Ran]) -> None:
    compared = compare_schedules(runs, below=5.5, on=ON)
    assert [row.held for row in compared.rows] == [4, 2, 2]
    gpipe, one_f_one_b, zb_v = compared.rows
    assert zb_v.shared.sent_bytes > 1.9 * gpipe.shared.sent_bytes == pytest.approx(1.9 * one_f_one_b.shared.sent_bytes)
    for row in compared.rows:
        assert row.on["a"].bubble.fraction < row.on["b"].bubble.fraction < 1 and row.on["a"].mfu > row.on["b"].mfu
        flops = [2 * on.mfu * on.step_s * DEVICE.flops_per_s for on in (row.measured, *row.on.values())]
        assert flops == pytest.approx([_computed(runs[row.shared.name])] * 3)  # no schedule computes more than serial
        assert 0 <= row.measured.bubble.rate <= row.measured.bubble.fraction < 1
    relative = compared.relative("a", "GPipe")
    assert relative["GPipe"] == 1 and relative["1F1B"] == pytest.approx(1, rel=0.01)
    assert relative["ZB-V"] == pytest.approx(zb_v.on["a"].step_s / gpipe.on["a"].step_s) and relative["ZB-V"] < 1


def test_tables_show_the_rows(runs: dict[str, Ran]) -> None:
    compared = compare_schedules(runs, below=5.5, on=ON)
    head, *rows = repr(compared.counted).splitlines()
    assert head.split()[:4] == ["schedule", "steps", "to", "5.5"] and head.endswith("held, micro-batches")
    assert [row.split()[-1] for row in rows] == ["4", "2", "2"] and rows[0].split()[:2] == ["GPipe", "8"]
    assert [table.header[1:] for table in (compared.on("a"), compared.on("b"))] == [compared.measured.header[1:-1]] * 2
    assert compared.measured.header[4] == "to 5.5"
    assert f"{compared.counted}\n\n{compared.on('a')}\n\n{compared.on('b')}" == repr(compared)
    never = compare_schedules(runs, below=0.1, on=ON)
    assert never.on("a").rows[0][4] == "-" == never.measured.rows[0][4]


def test_the_time_to_the_loss_is_measured_by_the_clock(runs: dict[str, Ran]) -> None:
    """The loss is reached after 8 of 10 steps, and the first one took 3 s: 8 times the mean step is another time."""
    told = {"losses": [5.0] * 10, "at_s": [3.0 + 0.1 * step for step in range(10)]}
    gpipe = runs["GPipe"]
    slow_start = replace(gpipe, results=[{**result, **told} for result in gpipe.results], steps=10)
    compared = compare_schedules({"GPipe": slow_start}, below=5.5, on=ON)
    row, text = compared.rows[0], compared.measured.rows[0]
    assert (row.shared.steps, text[3], text[4]) == (8, "390 ms", time_text(row.shared.measured_s))
    assert row.measured.reached_s == row.shared.measured_s == pytest.approx(3.7)
    assert row.on["a"].reached_s == pytest.approx(8 * row.on["a"].step_s)
    assert compared.on("a").rows[0][4] == time_text(row.on["a"].reached_s)
