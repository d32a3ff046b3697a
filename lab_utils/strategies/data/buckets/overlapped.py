"""Aggregates gradients in buckets while the backward still runs.

Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (VLDB 13), sections 3.2.2
(bucketing) and 3.2.3 (overlap). The training step stays the serial one: hooks do the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol
from weakref import ref

import torch
import torch.distributed as dist
from torch import nn

from lab_utils.comm.recorder.announced_buckets import announce
from lab_utils.strategies.data.all_reduce import replicate
from lab_utils.strategies.data.buckets.bucket import Bucket, assign_buckets, names_of, trained
from lab_utils.text import listed

MB = 2**20


def current_backward() -> int | None:
    """Return an id of the backward that is running, None outside of one; a failed backward calls no end callback."""
    number = torch._C._current_graph_task_id()
    return None if number == -1 else number


class Pending(Protocol):
    """A reduction in flight, such as the work that an asynchronous collective returns."""

    def wait(self) -> object: ...


Reduce = Callable[[Bucket, dist.ProcessGroup], Pending]


def mean(bucket: Bucket, group: dist.ProcessGroup) -> Pending:
    """Sum the bucket over the ranks: each of n ranks contributes an n-th of its gradients, so the sum is the mean."""
    return dist.all_reduce(bucket.flat, group=group, async_op=True)


class Buckets:
    """Replaces every gradient by its mean over the ranks in each backward.

    >>> buckets = Buckets(model)                 # also broadcasts the first rank's parameters
    >>> loss.backward(); optimizer.step()        # as in serial training
    >>> with buckets.no_sync():                  # gradients stay this rank's own, and accumulate
    ...     loss.backward()

    bucket_mb    MB of gradients per message. Small buckets leave less communication exposed after the backward,
                 large ones cost less latency
    first_mb     of the first bucket, which is sent early
    find_unused  allow parameters without a gradient on some ranks, for one more small all-reduce
    reduce       starts the reduction of a full bucket; the mean by default
    buffers      broadcast the first rank's buffers (running means) before each forward
    fixed        buckets to use as they are
    keep         parameters keep their gradient; else a bucket has memory from its first gradient on, and `reduce`
                 stores the result and frees the bucket
    begin        called when a backward begins

    Buckets are first assigned in reverse order of the parameters; after the first backward they follow the order in
    which rank 0 got its gradients. RuntimeError at the end of a backward that left parameters without a gradient,
    unless find_unused.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        bucket_mb: float = 25,
        first_mb: float = 1,
        group: dist.ProcessGroup | None = None,
        find_unused: bool = False,
        reduce: Reduce = mean,
        buffers: bool = True,
        fixed: Sequence[Bucket] = (),
        keep: bool = True,
        begin: Callable[[], object] = bool,
    ) -> None:
        if bucket_mb <= 0 or first_mb <= 0:
            raise ValueError(f"bucket_mb={bucket_mb}, first_mb={first_mb}: a bucket needs more than 0 MB")
        self.group, self.reduce, self.find_unused = group or dist.group.WORLD, reduce, find_unused
        self.synchronising, self.keep, self.begin = True, keep, begin
        self._names, self._sizes_mb = names_of(model), (first_mb, bucket_mb)
        self._scale = 1 / self.group.size()
        if not fixed:
            replicate(model, self.group)
        self._form(fixed or self._assign(list(reversed(trained(model)))))
        self._ordered = find_unused or bool(fixed)  # with unused parameters a backward's order is incomplete
        announce(model, self.on_wire)
        self._hooks = [model.register_forward_pre_hook(lambda *_, kept=self: None)]  # the model keeps its buckets alive
        # A weak reference: the garbage collector does not see through a parameter's hooks, so a cycle would stay.
        ready = partial(_ready, ref(self))
        self._hooks += [p.register_post_accumulate_grad_hook(ready) for p in self._slots]
        if buffers and any(True for _ in model.buffers()):
            self._hooks.append(model.register_forward_pre_hook(lambda model, _: self._share_buffers(model)))

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Aggregate nothing in the backwards inside."""
        before, self.synchronising = self.synchronising, False
        try:
            yield
        finally:
            self.synchronising = before

    def remove(self) -> None:
        """Remove the hooks: later backwards aggregate nothing."""
        for hook in self._hooks:
            hook.remove()

    def on_wire(self) -> Iterator[tuple[Sequence[nn.Parameter], int, str]]:
        """Iterate over the messages, for pictures: parameters, bytes, and the name of the collective."""
        op = getattr(self.reduce, "op", "all_reduce")
        return ((bucket.parameters, bucket.bytes, op) for bucket in self.buckets)

    def _assign(self, order: Sequence[nn.Parameter]) -> list[Bucket]:
        first, other = (int(mb * MB) for mb in self._sizes_mb)
        return assign_buckets(order, first, other, self.group.size())

    def _form(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = buckets
        self._slots = {parameter: (bucket, view) for bucket in buckets for parameter, view in bucket.items()}
        self._reset()

    def _reset(self) -> None:
        """Prepare for the next backward."""
        self._backward: int | None = None
        self._pending: list[Pending] = []
        self._order: dict[nn.Parameter, None] = {}
        self._missing = [len(bucket.parameters) for bucket in self.buckets]

    @torch.no_grad()
    def _ready(self, parameter: nn.Parameter) -> None:
        """Put a gradient into its bucket when the backward has computed it."""
        if not self.synchronising:
            return
        if self._backward != (backward := current_backward()):
            self._begin(backward)
        self._order[parameter] = None
        bucket, view = self._slots[parameter]
        bucket.take()
        torch.mul(parameter.grad, self._scale, out=view)
        parameter.grad = view if self.keep else None
        self._fill(bucket)

    def _begin(self, backward: int) -> None:
        self._reset()  # an earlier backward may have failed half-way
        self._backward = backward
        self.begin()
        torch.autograd.Variable._execution_engine.queue_callback(self._end)

    def _fill(self, bucket: Bucket) -> None:
        """Count one more gradient; start full buckets in their order, which is the same on all ranks."""
        self._missing[bucket.number] -= 1
        while len(self._pending) < len(self.buckets) and not self._missing[len(self._pending)]:
            self._pending.append(self.reduce(self.buckets[len(self._pending)], self.group))

    @torch.no_grad()
    def _end(self) -> None:
        """Start the remaining buckets after the backward, and wait for all of them."""
        try:
            unused = self._slots.keys() - self._order.keys()
            if unused and not self.find_unused:
                raise RuntimeError(self._complaint(unused))
            for parameter in unused:
                bucket, view = self._slots[parameter]
                bucket.take()
                view.zero_()
                self._fill(bucket)
            for pending in self._pending:
                pending.wait()
            if self.find_unused and self.keep:
                self._fill_unused(unused)
            elif not self._ordered:
                self._reorder()
        finally:
            self._reset()

    def _fill_unused(self, unused: set[nn.Parameter]) -> None:
        """Set the gradients of parameters unused here but used elsewhere; unused on all ranks, as in serial: none."""
        parameters = list(self._slots)
        used = torch.tensor([p not in unused for p in parameters], dtype=torch.uint8, device=parameters[0].device)
        dist.all_reduce(used, dist.ReduceOp.MAX, group=self.group)
        for parameter, is_used in zip(parameters, used.tolist(), strict=True):
            if parameter in unused and is_used:
                parameter.grad = self._slots[parameter][1]

    def _reorder(self) -> None:
        """Cut the buckets anew, in the order of rank 0's backward."""
        parameters = list(self._slots)
        number = {parameter: i for i, parameter in enumerate(parameters)}
        order = torch.tensor([number[p] for p in self._order], device=parameters[0].device)
        dist.broadcast(order, group=self.group, group_src=0)
        gradients = {p: p.grad for p in parameters}
        self._form(self._assign([parameters[i] for i in order.tolist()]))
        for parameter, gradient in gradients.items():
            parameter.grad = self._slots[parameter][1].copy_(gradient)
        self._ordered = True

    def _complaint(self, unused: set[nn.Parameter]) -> str:
        names = [name for p, name in self._names.items() if p in unused]
        return (
            f"{listed(names)} got no gradient on rank {self.group.rank()}, and other ranks wait for it: "
            "Buckets(model, find_unused=True) counts it as zero, requires_grad_(False) before leaves it out."
        )

    @torch.no_grad()
    def _share_buffers(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            dist.broadcast(buffer, group=self.group, group_src=0)


def _ready(buckets: ref[Buckets], parameter: nn.Parameter) -> None:
    if (alive := buckets()) is not None:
        alive._ready(parameter)
