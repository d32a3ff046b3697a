"""The bubble rates of a paper's table, by simulation, to the last digit that it printed."""

from __future__ import annotations

import numpy as np
import pytest
from schedule_published import ROWS, Row

from lab_utils.schedule import Costs, Schedule, schedules, simulate
from lab_utils.schedule.schedule import F
from lab_utils.timeline.simulator.program import Program, place


@pytest.mark.parametrize("name", ["one_f_one_b", "zb_h1", "zb_h2"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model}-{row.microbatches}")
def test_the_published_rate(row: Row, name: str) -> None:
    timeline = simulate(schedules.BY_NAME[name](row.stages, row.microbatches), row.costs)
    assert round(timeline.bubble_rate, 4) == getattr(row, name)
    if name == "one_f_one_b":  # its first rank is at work from beginning to end, so both definitions agree
        assert timeline.bubble_fraction == pytest.approx(timeline.bubble_rate, abs=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model}-{row.microbatches}")
def test_the_published_rate_of_interleaved(row: Row) -> None:
    """It comes out when only the first micro-batch of each group waits at the step from one virtual stage to the next.

    The authors' program (sail-sg/zero-bubble-pipeline-parallelism, megatron/core/pipeline_parallel/interleave.py, in
    its history) says so. All micro-batches wait in truth: that is p messages more, which the last micro-batch of the
    last group pays for where the backwards first step to the next virtual stage.
    """
    schedule = schedules.interleaved(row.stages, row.microbatches, row.virtual_stages)
    costs = row.costs.divided(row.virtual_stages)
    work = row.microbatches * (row.forward + row.backward_input + row.backward_weight)
    short = _makespan_when_few_wait(schedule, costs)
    assert round(1 - work / short, 4) == row.interleaved
    timeline = simulate(schedule, costs)
    assert timeline.makespan_s - short == pytest.approx(row.stages * row.comm, rel=1e-9)
    assert 0.0007 < timeline.bubble_rate - row.interleaved < 0.0036
    hops = 2 * row.stages * row.virtual_stages - 2
    ramp = (row.stages - 1) * work / row.microbatches / row.virtual_stages
    assert timeline.makespan_s == pytest.approx(work + ramp + hops * row.comm, rel=1e-9)


def _makespan_when_few_wait(s: Schedule, costs: Costs) -> float:
    """Without the waits of all but the first micro-batch of p at the way from the last rank to the first, and back."""
    p, program = s.ranks, s.program
    step = np.where(s.kind == F, s.stage % p == 0, (s.stage % p == p - 1) & (s.stage < s.stages - 1))
    waits = (s.needs >= 0) & ~(step & (s.microbatch % p > 0))
    kept = waits[np.repeat(np.arange(len(s)), np.diff(program.edge_first))]
    first = np.concatenate(([0], np.cumsum(waits))).astype(np.int32)
    fewer = Program(program.first, program.cost_class, first, program.edge_from[kept], program.edge_class[kept])
    return place(fewer, costs.table(s.stages), np.array([0.0, costs.comm])).makespan_s


def test_messages_are_what_the_closed_form_leaves_out() -> None:
    """Without them the paper's 1F1B rates are off by up to 0.0272."""
    off = [abs((r.stages - 1) / (r.microbatches + r.stages - 1) - r.one_f_one_b) for r in ROWS]
    assert max(off) == pytest.approx(0.0272, abs=1e-4)
