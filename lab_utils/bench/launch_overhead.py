"""Calibrate the launch overhead of Hardware, Python's time around kernels, on a small program of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from lab_utils.timeline.hardware import Hardware
from lab_utils.timeline.timeline import Timeline
from lab_utils.timeline.trace import Trace


def with_launches_of(hardware: Hardware, counted: Trace, measured: Sequence[Timeline]) -> Hardware:
    """Return the hardware with launch_s as measured in this program.

    The time between kernels differs more between programs than between machines: on one machine some 25 µs per kernel
    under DDP, and 100 under FSDP2. So calibrate for a large model on a small one under the same strategy.

    counted    the program, recorded with its kernels counted
    measured   timelines of the same steps recorded without counting, which takes time itself; their median is used

    ValueError when no kernels were counted, or the hardware has no device.
    """
    kernels = sum(op.kernels for ops in counted.ops for op in ops if op.kind == "compute")
    if not kernels:
        raise ValueError("no kernels were counted in this trace: record it with count=True")
    without = counted.timeline(hardware.with_device(launch_s=0.0)).compute_by_rank_s
    took = [median(each) for each in zip(*(timeline.compute_by_rank_s for timeline in measured), strict=True)]
    beyond_s = sum(max(0.0, all_s - kernels_s) for all_s, kernels_s in zip(took, without, strict=True))
    return hardware.with_device(launch_s=beyond_s / kernels)
