"""A parameter server that applies each gradient as it comes, so that nobody waits for a slow rank.

Dean et al. 2012, "Large Scale Distributed Deep Networks" (NIPS 25), section 4.1 (Downpour SGD); the bound on how far
ranks may drift apart is Ho et al. 2013 (NIPS 26). What it costs: a gradient is of parameters that others have changed
since, and the server says of each by how many updates.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.data.gradient_accumulation import Loss
from lab_utils.strategies.data.parameter_server.push_pull import SERVER, Server
from lab_utils.strategies.data.parameter_server.staleness import Applied, Clocks


class AsynchronousServer(Server):
    """Each gradient is an update of its own.

    >>> server = AsynchronousServer(model, optimizer, bound=2)      # on every rank; rank 0 serves
    >>> if server.is_server:
    ...     log = list(server.serve(updates=300))
    ... else:
    ...     while server.is_open:                                   # the server says when it has had enough
    ...         loss.backward(); optimizer.step(); optimizer.zero_grad()     # as in serial training

    bound     a worker more than so many steps ahead of the slowest waits; 0: bulk synchronous; None: nobody waits
    pace_s    worker → seconds that a step of its stands for. Gradients are then taken in the order in which they
              would come, whatever the ranks really take, so a run is the same every time. None: as they come
              (on gloo: nccl cannot tell who is first)

    server.note(loss, samples) before a worker's step puts its loss into the log; a gradient is an update, however many
    samples it is of. At the end all ranks have the server's parameters. A worker's `updates`: how many its pull saw.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        bound: int | None = None,
        pace_s: Mapping[int, float] | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(model, optimizer, group=group)
        if pace_s is not None and (set(pace_s) != set(self.worker_ranks) or min(pace_s.values()) <= 0):
            raise ValueError(f"pace_s={dict(pace_s)}: give each of the workers {list(self.worker_ranks)} more than 0 s")
        self.updates, self.is_open = 0, True
        self.clocks, self._pace_s = Clocks(self.worker_ranks, bound), pace_s
        self._due_s = dict(pace_s or {})

    def serve(self, updates: int) -> Iterator[Applied]:
        """Server: apply so many gradients, and say of each what it was; then close. Go on until it ends.

        The body of the loop may step a schedule, or evaluate the model; workers go on meanwhile.
        """
        began_s = time.perf_counter()
        self.is_open = self.updates < updates
        while self.is_open:
            worker, loss = self._take(min(self.clocks.computing, key=self._due_s.get) if self._pace_s else None)
            self.optimizer.step()
            self.optimizer.zero_grad()
            at_s = self._due_s[worker] if self._pace_s else time.perf_counter() - began_s
            applied = self.clocks.apply(worker, at_s, loss)
            self.updates = applied.number
            self.is_open = self.updates < updates
            for freed in self.clocks.pull() if self.is_open else ():
                self._let_go(freed, at_s)
            yield applied
        self._close()

    def _take(self, worker: int | None) -> tuple[int, float]:
        """A gradient from this worker, or from whoever brings one next; who it was, and the loss that it lowers."""
        with phase("push"):
            _, loss, worker = self.receive_note(worker)
            self.receive(worker)
        for bucket in self.buckets:
            for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
                parameter.grad = view  # until the answer, which needs the room
        return worker, loss

    def _let_go(self, worker: int, at_s: float = 0.0) -> None:
        """Give a worker news and parameters."""
        with phase("pull"):
            self._send_note(worker, self.updates, self.is_open)
            self.answer(worker)
        if self._pace_s:
            self._due_s[worker] = at_s + self._pace_s[worker]

    def _close(self) -> None:
        """Who waits may go home; whoever still computes brings a gradient that comes too late."""
        for worker in self.clocks.waiting:
            self._let_go(worker)
        for worker in self.clocks.computing:
            self._take(worker)
            self.optimizer.zero_grad()
            self._let_go(worker)

    def pull(self) -> None:
        """Worker: receive news and parameters."""
        with phase("pull"):
            updates, is_open, _ = self.receive_note(SERVER)
        self.updates, self.is_open = int(updates), bool(is_open)
        super().pull()


def slowed(loss_of: Loss, times: int) -> Loss:
    """The same loss from `times` forwards, of which one counts: what a rank on a slower machine takes.

    Not for a model whose forward changes it or draws at random (running means, dropout).
    """

    def slow(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            for _ in range(times - 1):
                loss_of(model, x, y)
        return loss_of(model, x, y)

    return slow
