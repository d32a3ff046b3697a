"""What one recording collects while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch

from lab_utils.comm.clock import Moment
from lab_utils.comm.entry import NOTHING, Computing, Counts, Entry
from lab_utils.comm.kernels import KernelCounter, counting
from lab_utils.timeline.trace import Op, Phase


@dataclass(slots=True)
class Recording:
    """What one `recording()` collected; `ops` and `phases` are filled when it ends. No counter: no kernel counts."""

    entries: list[Entry | Computing] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    futures: dict[Entry, tuple[torch.futures.Future, Callable[[], Moment]]] = field(default_factory=dict)
    counter: KernelCounter | None = None

    def counting(self) -> AbstractContextManager[None]:
        return nullcontext() if self.counter is None else counting(self.counter)

    def counted(self) -> Counts:
        """What kernels did since this was last asked."""
        return NOTHING if self.counter is None else self.counter.cut()

    def follow(self, entry: Entry, future: torch.futures.Future, now: Callable[[], Moment]) -> None:
        """Note when the op is done. A future holds the op's tensors, so it is let go then."""

        def done(_: torch.futures.Future) -> None:
            entry.set_done(now())
            self.futures.pop(entry, None)

        self.futures[entry] = future, now
        future.add_done_callback(done)

    def finish(self, show: Callable[[str, Entry], None]) -> None:
        """Wait until every asynchronous op is done: a hook of DDP's may leave some to the backend's threads."""
        for entry, (future, now) in list(self.futures.items()):
            if entry.done_s is None:
                show("in", entry)
                future.wait()
                entry.set_done(now())  # unless its own callback came first
