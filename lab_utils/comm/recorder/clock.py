"""The clock of a recording: the host's, or that of the CUDA stream that runs the rank's compute.

On the CPU a rank is where its thread is. On a GPU the thread runs ahead and only queues work, so there a moment
is an event in the current stream; it becomes a time when the recording ends.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

host_now = time.perf_counter


class StreamMoment(NamedTuple):
    """A point of a stream, reached when the device gets there."""

    event: torch.cuda.Event
    device: int


Moment = float | StreamMoment


class StreamClock:
    """Moments of the current CUDA stream, converted to host times. Each device has its own zero."""

    def __init__(self) -> None:
        self._zeros: dict[int, tuple[torch.cuda.Event, float]] = {}
        self.now()

    def now(self) -> StreamMoment:
        """Record a moment in the current stream. The first call on a device synchronizes it; later ones never block."""
        device = torch.cuda.current_device()
        if device not in self._zeros:
            torch.cuda.synchronize(device)  # else the zero would follow the queued work
            self._zeros[device] = _event(), host_now()
        return StreamMoment(_event(), device)

    def seconds(self, moment: Moment) -> float:
        """Convert the moment to a time of `host_now`; waits until the device has reached it."""
        if isinstance(moment, float):
            return moment
        zero, zero_s = self._zeros[moment.device]
        moment.event.synchronize()
        return zero_s + zero.elapsed_time(moment.event) / 1e3


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
