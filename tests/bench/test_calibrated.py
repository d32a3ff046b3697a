"""Launches of kernels as long as a small program says; by hand."""

from __future__ import annotations

import pytest
from trace_writer import TraceWriter

from lab_utils.bench.figures_of.predicted import with_launches_of
from lab_utils.timeline.hardware import Device, Hardware, Link

HARDWARE = Hardware(Device("any", 1e9, 1e9, launch_s=1.0), Link("any", 0.0, 1.0))


def test_launches_are_as_long_as_a_program_says() -> None:
    """Two ranks with 10 kernels each, 1 ms on the device, and 3 and 5 ms as measured: 6 ms for 20 kernels."""
    program = TraceWriter(2)
    for rank, seconds in enumerate((0.003, 0.005)):
        program.compute(rank, measured_s=seconds, flops=10**6, kernels=10)
    counted = program.trace()
    measured = [counted.timeline(Hardware(None, HARDWARE.link, compute_scale=scale)) for scale in (0.1, 1.0, 7.0)]
    found = with_launches_of(HARDWARE, counted, measured)
    assert found.device.launch_s == pytest.approx(0.006 / 20)
    assert found == HARDWARE.with_device(launch_s=found.device.launch_s)
    assert counted.timeline(found).compute_by_rank_s == pytest.approx((0.004, 0.004))


def test_a_trace_without_kernels_says_nothing_of_them() -> None:
    with pytest.raises(ValueError, match="no kernels were counted in this trace: record it with count=True"):
        with_launches_of(HARDWARE, TraceWriter(1).trace(), [])
