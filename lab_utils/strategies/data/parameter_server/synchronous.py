"""A parameter server: one rank holds the parameters and updates them, the others compute gradients.

Li et al. 2014, "Scaling Distributed Machine Learning with the Parameter Server" (OSDI 14), section 3, with a single
server. In each step every worker pushes P bytes of gradients and pulls P bytes of parameters over the server's link:
2(n-1)P with n ranks, where a rank of a ring all-reduce sends 2(n-1)/n P. So the server's time grows with n, and the
ring's does not. Li et al. shard the parameters over many servers (section 4.3); sharded evenly over all ranks that is
ZeRO-1, where a push is a reduce-scatter and a pull an all-gather.
"""

from __future__ import annotations

from itertools import chain

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.data.parameter_server.push_pull import Server


class SynchronousServer(Server):
    """Waits for all workers, and updates once with the mean of their gradients.

    >>> server = SynchronousServer(model, optimizer)          # on every rank; rank 0 serves
    >>> if server.is_server:
    ...     optimizer.step()                                  # once per step of the workers
    ... else:
    ...     loss.backward(); optimizer.step(); optimizer.zero_grad()     # as in serial training

    Only rank 0's optimizer has an effect: its state, learning rate and schedule. For uneven shards,
    server.note(loss, samples) before a worker's step weights its gradient by its samples, which may be 0; then
    `server.loss` on rank 0 is the batch's loss before the last update (NaN without notes).
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, *, group: dist.ProcessGroup | None = None
    ) -> None:
        super().__init__(model, optimizer, group=group)
        self.loss = float("nan")
        if self.is_server:
            self._hooks = [
                optimizer.register_step_pre_hook(lambda *_: self._collect()),
                optimizer.register_step_post_hook(lambda *_: self._spread()),
            ]

    @torch.no_grad()
    def _collect(self) -> None:
        """Set the gradients to the mean of the workers', weighted by samples. ValueError without any sample."""
        totals = [torch.zeros_like(parameter) for parameter in self._parameters()]
        all_samples = all_loss = 0
        with phase("push"):
            for worker in self.worker_ranks:
                samples, loss, _ = self.receive_note(worker)
                self.receive(worker)
                torch._foreach_add_(totals, [view for bucket in self.buckets for view in bucket.views], alpha=samples)
                all_samples += samples
                all_loss += samples * loss if samples else 0
        if not all_samples:
            raise ValueError("no worker has a sample: a batch needs at least one")
        torch._foreach_div_(totals, all_samples)
        self.loss = all_loss / all_samples
        for parameter, mean in zip(self._parameters(), totals, strict=True):
            parameter.grad = mean

    def _parameters(self) -> chain[nn.Parameter]:
        return chain.from_iterable(bucket.parameters for bucket in self.buckets)

    def _spread(self) -> None:
        with phase("pull"):
            for worker in self.worker_ranks:
                self.answer(worker)
