"""Push and pull: the messages between a parameter server and its workers, and the hooks of a worker's step."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.comm.recorder.recorder import phase
from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import NO_LIMIT, assign_buckets, names_of, trained

SERVER = 0
NOTE, FIRST = 0, 1  # tags: of the note sent before the buckets, and of the first bucket


class Server:
    """Shared by both kinds of server: roles and messages.

    worker_ranks   the ranks that compute, as ranks of `group`
    buckets        one message each: all trained parameters of one dtype, or their gradients

    Buffers stay per worker. ValueError when there is no worker.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, *, group: dist.ProcessGroup | None = None
    ) -> None:
        self.model, self.optimizer, self.group = model, optimizer, group or dist.group.WORLD
        if self.group.size() < 2:
            raise ValueError("1 rank: a parameter server needs 2 or more, itself and a worker")
        self.worker_ranks = range(SERVER + 1, self.group.size())
        replicate(model, self.group)
        self.buckets = assign_buckets(trained(model), NO_LIMIT, NO_LIMIT, ranks=1)
        self._names, self._updated = names_of(model), [group["params"] for group in optimizer.param_groups]
        self._note = torch.zeros(2, dtype=torch.float64, device=self.buckets[0].flat.device)
        self._samples, self._loss = 1, float("nan")
        self._hooks = []
        if not self.is_server:
            self._work()

    @property
    def is_server(self) -> bool:
        return self.group.rank() == SERVER

    def _work(self) -> None:
        """Turn the worker's optimizer step into a push and a pull, without an update of its own."""
        for group in self.optimizer.param_groups:
            group["params"] = []
        self._hooks = [
            self.optimizer.register_step_pre_hook(lambda *_: self.push()),
            self.optimizer.register_step_post_hook(lambda *_: self.pull()),
        ]

    def remove(self) -> None:
        """Remove the hooks, and restore the optimizer's groups."""
        for hook in self._hooks:
            hook.remove()
        for group, parameters in zip(self.optimizer.param_groups, self._updated, strict=True):
            group["params"] = parameters

    def note(self, loss: Tensor, samples: int) -> None:
        """Worker: set the next push's number of samples, its weight (1 without a note), and their loss, []."""
        self._loss, self._samples = loss.item(), samples

    @torch.no_grad()
    def push(self) -> None:
        """Worker: send the gradients and clear them. RuntimeError for a parameter without one."""
        with phase("push"):
            self._send_note(SERVER, self._samples, self._loss)
            for bucket in self.buckets:
                for parameter, view in bucket.items():
                    view.copy_(self._gradient(parameter)) if self._samples else view.zero_()
                    parameter.grad = None
                dist.send(bucket.flat, group=self.group, group_dst=SERVER, tag=FIRST + bucket.number)

    @torch.no_grad()
    def pull(self) -> None:
        """Worker: receive the parameters."""
        with phase("pull"):
            self.receive(SERVER)
            for bucket in self.buckets:
                torch._foreach_copy_(list(bucket.parameters), list(bucket.views))

    def receive(self, source: int) -> None:
        """Receive one rank's buckets."""
        for bucket in self.buckets:
            dist.recv(bucket.flat, group=self.group, group_src=source, tag=FIRST + bucket.number)

    @torch.no_grad()
    def answer(self, worker: int) -> None:
        """Server: send one worker the parameters."""
        for bucket in self.buckets:
            torch._foreach_copy_(list(bucket.views), list(bucket.parameters))
            dist.send(bucket.flat, group=self.group, group_dst=worker, tag=FIRST + bucket.number)

    def _send_note(self, to: int, *values: float) -> None:
        self._note.copy_(torch.tensor(values, dtype=torch.float64))
        dist.send(self._note, group=self.group, group_dst=to, tag=NOTE)

    def receive_note(self, source: int | None) -> tuple[float, float, int]:
        """Receive a note from this rank, or from the next that sends one; return its two numbers and the sender."""
        sender = dist.recv(self._note, group=self.group, group_src=source, tag=NOTE)
        return *self._note.tolist(), dist.get_group_rank(self.group, sender) if source is None else source

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        if parameter.grad is None:
            raise RuntimeError(
                f"{self._names[parameter]} got no gradient on rank {self.group.rank()}, and the server waits for it: "
                "requires_grad_(False) before the server is created leaves it out."
            )
        return parameter.grad
