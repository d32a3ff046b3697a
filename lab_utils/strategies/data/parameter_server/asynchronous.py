"""A parameter server that applies each gradient as it arrives, so that no rank waits for a slow one.

Dean et al. 2012, "Large Scale Distributed Deep Networks" (NIPS 25), section 4.1 (Downpour SGD); the bound on how far
ranks may drift apart is from Ho et al. 2013 (NIPS 26). The cost is staleness: others have changed the parameters since
a gradient's pull; the server logs by how many updates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.data.parameter_server.pacing import Pace, Pacing, shortest_s
from lab_utils.strategies.data.parameter_server.push_pull import SERVER, Server
from lab_utils.strategies.data.parameter_server.staleness import Applied, Clocks


class AsynchronousServer(Server):
    """Updates once per gradient.

    >>> server = AsynchronousServer(model, optimizer, bound=2)      # on every rank; rank 0 serves
    >>> if server.is_server:
    ...     log = list(server.serve(updates=300))
    ... else:
    ...     while server.is_open:                                   # until the server has applied all updates
    ...         loss.backward(); optimizer.step(); optimizer.zero_grad()     # as in serial training

    bound     a worker more than this many steps ahead of the slowest waits; 0: bulk synchronous; None: no waiting
    pace_s    worker → simulated seconds per step, or those of its steps in turn, repeated. The server then takes
              gradients in the order of these times instead of their arrival, so a run is reproducible. None: in order
              of arrival (gloo only: nccl cannot receive from any source)

    server.note(loss, samples) before a worker's step puts its loss into the log; each gradient is one update, of any
    number of samples. At the end all ranks have the server's parameters. `updates` of a worker is the number of
    updates in the parameters of its last pull.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        bound: int | None = None,
        pace_s: Mapping[int, Pace] | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(model, optimizer, group=group)
        if pace_s is not None and (set(pace_s) != set(self.worker_ranks) or shortest_s(pace_s) <= 0):
            raise ValueError(f"pace_s={dict(pace_s)}: give each of the workers {list(self.worker_ranks)} more than 0 s")
        self.updates, self.is_open = 0, True
        self.clocks = Clocks(self.worker_ranks, bound)
        self._pacing = None if pace_s is None else Pacing(pace_s)

    def serve(self, updates: int) -> Iterator[Applied]:
        """Server: apply this many gradients, yielding a log entry for each, then close. Exhaust the iterator.

        The body of the loop may step a schedule or evaluate the model; workers continue meanwhile.
        """
        began_s = time.perf_counter()
        self.is_open = self.updates < updates
        while self.is_open:
            worker, loss = self._take(self._pacing and self._pacing.first(self.clocks.computing))
            self.optimizer.step()
            self.optimizer.zero_grad()
            at_s = self._pacing.due_s[worker] if self._pacing else time.perf_counter() - began_s
            applied = self.clocks.apply(worker, at_s, loss)
            self.updates = applied.number
            self.is_open = self.updates < updates
            for freed in self.clocks.pull() if self.is_open else ():
                self._let_go(freed, at_s)
            yield applied
        self._close()

    def _take(self, worker: int | None) -> tuple[int, float]:
        """Receive a gradient from this worker, or from the next that sends one; return its rank and loss."""
        with phase("push"):
            _, loss, worker = self.receive_note(worker)
            self.receive(worker)
        for bucket in self.buckets:
            for parameter, view in bucket.items():
                parameter.grad = view  # valid until `answer`, which overwrites the buffer
        return worker, loss

    def _let_go(self, worker: int, at_s: float = 0.0) -> None:
        """Send a worker the server's state and the parameters."""
        with phase("pull"):
            self._send_note(worker, self.updates, self.is_open)
            self.answer(worker)
        if self._pacing:
            self._pacing.start(worker, at_s)

    def _close(self) -> None:
        """Release the waiting workers; receive from the computing ones a last gradient, and discard it."""
        for worker in self.clocks.waiting:
            self._let_go(worker)
        for worker in self.clocks.computing:
            self._take(worker)
            self.optimizer.zero_grad()
            self._let_go(worker)

    def pull(self) -> None:
        """Worker: receive the server's state and the parameters."""
        with phase("pull"):
            updates, is_open, _ = self.receive_note(SERVER)
        self.updates, self.is_open = int(updates), bool(is_open)
        super().pull()
