"""The words of a hardware's name and of its numbers, which TimelineView's sliders use too."""

from __future__ import annotations

CHANGED = "{name}, changed: {changes}"
NUMBERS = {
    "latency_s": "latency", "bytes_per_s": "bandwidth", "across_latency_s": "latency between nodes",
    "across_bytes_per_s": "bandwidth between nodes", "compute_scale": "compute time", "flops_per_s": "compute speed",
    "memory_bytes_per_s": "memory bandwidth", "launch_s": "launch of a kernel", "issue_s": "issue of an op",
    "algorithm": "algorithm of collectives",
}  # fmt: skip
PER_SECOND, TIMES = "{amount}/s", "× {factor}"
