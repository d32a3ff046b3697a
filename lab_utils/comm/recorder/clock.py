"""The clock of a recording: the host's, or that of the CUDA stream which carries the rank's computing.

On the CPU a rank is where its thread is. On a GPU the thread runs ahead and only queues work, so there a moment
is an event in the current stream; it becomes a time when the recording ends.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

host_now = time.perf_counter


class StreamMoment(NamedTuple):
    """When a device comes to this point of a stream."""

    event: torch.cuda.Event
    device: int


Moment = float | StreamMoment


class StreamClock:
    """Moments of the current CUDA stream, read as times of the host. Each device has its own zero."""

    def __init__(self) -> None:
        self._zeros: dict[int, tuple[torch.cuda.Event, float]] = {}
        self.now()

    def now(self) -> StreamMoment:
        """Where the current stream is. The first call on a device waits for it; later ones never block."""
        device = torch.cuda.current_device()
        if device not in self._zeros:
            torch.cuda.synchronize(device)  # else the zero would come after what is queued, and not now
            self._zeros[device] = _event(), host_now()
        return StreamMoment(_event(), device)

    def seconds(self, moment: Moment) -> float:
        """The moment as a time of `host_now`; waits until the device has come to it."""
        if isinstance(moment, float):
            return moment
        zero, zero_s = self._zeros[moment.device]
        moment.event.synchronize()
        return zero_s + zero.elapsed_time(moment.event) / 1e3


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
