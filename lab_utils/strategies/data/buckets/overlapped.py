"""Gradients that are aggregated while the backward still runs, many in one message.

Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (VLDB 13), sections 3.2.2
(bucketing) and 3.2.3 (overlap). The training step stays the serial one: hooks do all of it.
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
from lab_utils.strategies.data.buckets.bucket import Bucket, cut, names_of, trained

MB = 2**20


def current_backward() -> int | None:
    """A number of the backward that runs now, None outside of one. A backward that fails has no end to be told of."""
    number = torch._C._current_graph_task_id()
    return None if number == -1 else number


class Pending(Protocol):
    """A reduction under way, such as the work that an asynchronous collective returns."""

    def wait(self) -> object: ...


Reduce = Callable[[Bucket, dist.ProcessGroup], Pending]


def mean(bucket: Bucket, group: dist.ProcessGroup) -> Pending:
    """Replace the bucket by its sum over the ranks: each has brought its n-th part."""
    return dist.all_reduce(bucket.flat, group=group, async_op=True)


class Buckets:
    """After each backward, every gradient is its mean over the ranks.

    >>> buckets = Buckets(model)                 # gives all ranks the first rank's parameters, too
    >>> loss.backward(); optimizer.step()        # as in serial training
    >>> with buckets.no_sync():                  # gradients stay this rank's own, and add up
    ...     loss.backward()

    bucket_mb    MB of gradients in a message; what is aggregated last cannot hide behind computing, so smaller is
                 better there, and latency asks for larger
    first_mb     of the first bucket, which is sent early
    find_unused  some parameters may get no gradient on some ranks. It costs one more small all-reduce
    reduce       what is done with a full bucket; the mean, unless given
    buffers      before each forward, give every rank the first rank's buffers (running means, say)
    given        buckets that stay as they are
    keep         parameters keep their gradient; else a bucket's memory is theirs from its first gradient on, and
                 `reduce` says where the result goes and when the memory is free
    begin        called when a backward begins

    Buckets are cut in reverse order of the parameters at first, and in the order in which the first backward made
    the gradients from then on, as rank 0 saw it. RuntimeError at the end of a backward that left parameters without a
    gradient, unless find_unused.
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
        given: Sequence[Bucket] = (),
        keep: bool = True,
        begin: Callable[[], object] = bool,
    ) -> None:
        if bucket_mb <= 0 or first_mb <= 0:
            raise ValueError(f"bucket_mb={bucket_mb}, first_mb={first_mb}: a bucket has room for something")
        self.group, self.reduce, self.find_unused = group or dist.group.WORLD, reduce, find_unused
        self.synchronising, self.keep, self.begin = True, keep, begin
        self._names, self._sizes_mb = names_of(model), (first_mb, bucket_mb)
        self._scale = 1 / self.group.size()
        if not given:
            replicate(model, self.group)
        self._form(given or self._cut(list(reversed(trained(model)))))
        self._ordered = find_unused or bool(given)  # an order that leaves some out is no order to go by
        announce(model, self.on_wire)
        self._hooks = [model.register_forward_pre_hook(lambda *_, kept=self: None)]
        # By a weak reference: Python's collector does not see through a parameter's hooks, so a circle would stay.
        ready = partial(_tell, ref(self))
        self._hooks += [p.register_post_accumulate_grad_hook(ready) for p in self._slots]
        if buffers and any(True for _ in model.buffers()):
            self._hooks.append(model.register_forward_pre_hook(lambda model, _: self._share_buffers(model)))

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, a backward aggregates nothing."""
        before, self.synchronising = self.synchronising, False
        try:
            yield
        finally:
            self.synchronising = before

    def remove(self) -> None:
        """Let the model be as it was: backwards aggregate nothing from now on."""
        for hook in self._hooks:
            hook.remove()

    def on_wire(self) -> Iterator[tuple[Sequence[nn.Parameter], int, str]]:
        """For pictures: which parameters' gradients go together, their bytes, and the op that carries them."""
        op = getattr(self.reduce, "op", "all_reduce")
        return ((bucket.parameters, bucket.bytes, op) for bucket in self.buckets)

    def _cut(self, order: Sequence[nn.Parameter]) -> list[Bucket]:
        first, other = (int(mb * MB) for mb in self._sizes_mb)
        return cut(order, first, other, self.group.size())

    def _form(self, buckets: Sequence[Bucket]) -> None:
        self.buckets = buckets
        self._slots = {
            parameter: (bucket, view)
            for bucket in buckets
            for parameter, view in zip(bucket.parameters, bucket.views, strict=True)
        }
        self._forget()

    def _forget(self) -> None:
        """Ready for the next backward."""
        self._backward: int | None = None
        self._pending: list[Pending] = []
        self._order: dict[nn.Parameter, None] = {}
        self._missing = [len(bucket.parameters) for bucket in self.buckets]

    @torch.no_grad()
    def _ready(self, parameter: nn.Parameter) -> None:
        """The backward has made this gradient."""
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
        self._forget()  # what an earlier backward left that failed half-way
        self._backward = backward
        self.begin()
        torch.autograd.Variable._execution_engine.queue_callback(self._end)

    def _fill(self, bucket: Bucket) -> None:
        """One more of its gradients is there. Buckets leave in their order, which is the same on all ranks."""
        self._missing[bucket.number] -= 1
        while len(self._pending) < len(self.buckets) and not self._missing[len(self._pending)]:
            self._pending.append(self.reduce(self.buckets[len(self._pending)], self.group))

    @torch.no_grad()
    def _end(self) -> None:
        """The backward is over: what is left goes on its way, and all of it comes back."""
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
                self._hand_out(unused)
            elif not self._ordered:
                self._reorder()
        finally:
            self._forget()

    def _hand_out(self, unused: set[nn.Parameter]) -> None:
        """Who was unused here gets the others' gradient; who was unused everywhere gets none, as in serial training."""
        parameters = list(self._slots)
        used = torch.tensor([p not in unused for p in parameters], dtype=torch.uint8, device=parameters[0].device)
        dist.all_reduce(used, dist.ReduceOp.MAX, group=self.group)
        for parameter, is_used in zip(parameters, used.tolist(), strict=True):
            if parameter in unused and is_used:
                parameter.grad = self._slots[parameter][1]

    def _reorder(self) -> None:
        """From now on buckets fill in the order in which rank 0's backward went."""
        parameters = list(self._slots)
        number = {parameter: i for i, parameter in enumerate(parameters)}
        order = torch.tensor([number[p] for p in self._order], device=parameters[0].device)
        dist.broadcast(order, group=self.group, group_src=0)
        gradients = {p: p.grad for p in parameters}
        self._form(self._cut([parameters[i] for i in order.tolist()]))
        for parameter, gradient in gradients.items():
            parameter.grad = self._slots[parameter][1].copy_(gradient)
        self._ordered = True

    def _complaint(self, unused: set[nn.Parameter]) -> str:
        names = [name for p, name in self._names.items() if p in unused]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return (
            f"{', '.join(names[:3])}{more} got no gradient on rank {self.group.rank()}, and other ranks wait for it: "
            "Buckets(model, find_unused=True) counts it as zero, requires_grad_(False) before leaves it out."
        )

    @torch.no_grad()
    def _share_buffers(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            dist.broadcast(buffer, group=self.group, group_src=0)


def _tell(buckets: ref[Buckets], parameter: nn.Parameter) -> None:
    if (held := buckets()) is not None:
        held._ready(parameter)
