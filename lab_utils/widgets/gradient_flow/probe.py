"""`with gradient_flow(model) as flow: loss.backward()`: record what one backward does to this rank's gradients.

Per parameter: when its gradient was ready, its norm, how far the ranks disagree about it before and after the
reduction, its bucket and the piece that the rank keeps. Works with plain modules, DDP, FSDP2 and DTensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from lab_utils.comm.recorder.clock import Moment, StreamClock, host_now
from lab_utils.comm.recorder.pending_op import PendingOp
from lab_utils.comm.recorder.recorder import recorder
from lab_utils.widgets.gradient_flow import words
from lab_utils.widgets.gradient_flow.probe_buckets import (
    fitting,
    fsdp_parameters,
    on_wire,
    planned_buckets,
    trained_by_name,
)
from lab_utils.widgets.gradient_flow.probe_compare import Key, deviations, key_of, local, unrecorded
from lab_utils.widgets.gradient_flow.record import Bucket, FlowRecord, Gradient, Kind, Piece


class Edges:
    """Records gradients of a stage's inputs (which it sends back) and outputs, from now until `remove()`."""

    def __init__(self, model: nn.Module, stage: str, now: Callable[[], Moment]) -> None:
        self._stage, self._now = stage, now
        self._found: dict[str, _Edge] = {}
        self._hook = model.register_forward_hook(self._forward, with_kwargs=True)

    def remove(self) -> None:
        self._hook.remove()

    def gradients(self, seconds: Callable[[Moment], float], rounds: int) -> list[Gradient]:
        """Return the gradients over the last `rounds` micro-batches, 0 for all: "stage 1 output", "stage 1 input".

        `rounds` is the number of backwards that reached parameters: before its first step PyTorch's pipelining runs
        a stage on uninitialised memory to infer shapes, and no parameter takes a gradient then.
        """
        return [edge.gradient(name, seconds, rounds) for name, edge in self._found.items() if edge.came]

    def _forward(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._watch("input", (args, kwargs))
        self._watch("output", output)

    def _watch(self, kind: Kind, values: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.requires_grad]
        for number, tensor in enumerate(tensors):
            name = f"{self._stage} {kind}{f' {number}' if len(tensors) > 1 else ''}"
            edge = self._found.setdefault(name, _Edge(kind, tuple(tensor.shape)))
            tensor.register_hook(partial(edge.note, self._now))


class _Edge:
    """One input or output of a stage, with a gradient per micro-batch."""

    def __init__(self, kind: Kind, shape: tuple[int, ...]) -> None:
        self.kind, self.shape = kind, shape
        self.came: list[tuple[Moment, int, Tensor]] = []  # time, bytes, sum of squares

    def note(self, now: Callable[[], Moment], gradient: Tensor) -> None:
        at = now()
        with torch.no_grad(), _disable_current_modes():  # not recorded: not the program's kernels
            own = local(gradient)
            self.came.append((at, own.nbytes, own.double().square().sum()))

    def gradient(self, name: str, seconds: Callable[[Moment], float], rounds: int) -> Gradient:
        moments, sizes, squares = zip(*self.came[-rounds:], strict=True)
        norm = torch.stack(squares).sum().sqrt().item()
        return Gradient(name, self.shape, sum(sizes), tuple(map(seconds, moments)), norm, kind=self.kind)


__all__ = ["Flow", "gradient_flow"]

Seconds = Callable[[Moment], float]


@contextmanager
def gradient_flow(
    model: nn.Module,
    *,
    group: dist.ProcessGroup | None = None,
    prefix: str = "",
    optimizer: torch.optim.Optimizer | None = None,
) -> Iterator[Flow]:
    """Record the backward inside; on exit all ranks of the group compare their gradients.

    >>> with gradient_flow(model) as flow:
    ...     loss.backward()                  # and what reduces the gradients, where DDP or FSDP does not
    >>> return flow.record()                 # to the notebook: GradientFlow(trace, trace.results)

    group       ranks to compare; default DDP's own process group, or all ranks
    prefix      prepended to names where ranks hold different models ("stage 1." in a pipeline): gradients of equal
                names are compared. With a prefix, gradients of the stage's inputs and outputs are recorded too, if
                its forward runs inside the block
    optimizer   a ZeroRedundancyOptimizer, to record which rank updates which parameter

    The program's results do not change: gradients are copied when ready (memory for one more set of gradients), and
    the comparison is in no recording's ops or times. After an exception inside, nothing is compared.
    """
    flow = Flow(model, prefix, _group_of(model) if group is None else group)
    with flow._watching():
        yield flow
    with unrecorded(), torch.no_grad():
        flow._finish(getattr(optimizer, "_param_to_rank", {}))


class Flow:
    """One backward being recorded; `record()` is available once the block has ended."""

    def __init__(self, model: nn.Module, prefix: str, group: dist.ProcessGroup | None) -> None:
        self._model, self._prefix, self._group = model, prefix, group
        self._parameters = {prefix + name: parameter for name, parameter in trained_by_name(model).items()}
        self._names = {id(parameter): name for name, parameter in self._parameters.items()}
        sharded = (p.sharded_param for group in fsdp_parameters(model) for p in group)
        self._sharded = {self._names[id(parameter)] for parameter in sharded if id(parameter) in self._names}
        self._own: dict[str, Tensor] = {}  # copies of what this rank computed
        self._keys: dict[str, Key] = {}  # the piece of the whole in each copy
        self._ready: dict[str, list[Moment]] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._record: FlowRecord | None = None

    def record(self) -> FlowRecord:
        """Return the record, without tensors, to send to the notebook. RuntimeError inside the block."""
        if self._record is None:
            raise RuntimeError(words.STILL_INSIDE)
        return self._record

    @contextmanager
    def _watching(self) -> Iterator[None]:
        on_device = torch.cuda.is_initialized()
        self._clock = StreamClock() if on_device else None
        self._now = self._clock.now if on_device else host_now
        entries = [] if recorder.recording is None else recorder.recording.entries
        self._first = len(entries)
        self._watch()
        edges = Edges(self._model, self._prefix.rstrip(". "), self._now) if self._prefix else None
        self._began = self._now()
        try:
            yield
        finally:
            self._ended = self._now()
            self._entries, self._edges = entries, edges
            for hook in [*self._hooks, *([edges] if edges else [])]:
                hook.remove()

    def _watch(self) -> None:
        """Hook each parameter. FSDP2 computes with unsharded parameters, which it creates in its first forward."""
        for name, parameter in self._parameters.items():
            if name not in self._sharded:
                self._hook(name, parameter)
        self._watch_unsharded()
        for module in self._model.modules():
            if isinstance(module, FSDPModule):
                self._hooks.append(module.register_forward_hook(lambda *_: self._watch_unsharded()))

    def _watch_unsharded(self) -> None:
        for parameter in (p for group in fsdp_parameters(self._model) for p in group):
            name = self._names.get(id(parameter.sharded_param))
            if name is not None and name not in self._ready and hasattr(parameter, "_unsharded_param"):
                self._hook(name, parameter._unsharded_param)

    def _hook(self, name: str, parameter: Tensor) -> None:
        """Hook in before all other hooks: one of them may start to reduce the gradient in place."""
        self._ready[name] = []
        others = dict(parameter._post_accumulate_grad_hooks or {})
        if others:
            parameter._post_accumulate_grad_hooks.clear()  # autograd calls them in order of registration
        self._hooks.append(parameter.register_post_accumulate_grad_hook(lambda held: self._is_ready(name, held.grad)))
        parameter._post_accumulate_grad_hooks.update(others)

    def _is_ready(self, name: str, gradient: Tensor) -> None:
        self._ready[name].append(self._now())
        with _disable_current_modes():  # not recorded: the copy is not the program's kernel
            self._keys[name] = key_of(name, gradient)
            self._own[name] = local(gradient).clone()

    def _finish(self, owners: dict[Tensor, int]) -> None:
        seconds = float if self._clock is None else self._clock.seconds
        ready_s = {name: tuple(map(seconds, moments)) for name, moments in self._ready.items()}
        gradients = {
            name: self._gradient(name, parameter, ready_s.get(name, ()), owners.get(parameter))
            for name, parameter in self._parameters.items()
        }
        self._compare(gradients)
        origin = self._entries[0].issue_s if self._entries else None
        self._record = FlowRecord(
            dist.get_rank() if dist.is_initialized() else 0, seconds(self._began), seconds(self._ended),
            None if origin is None else seconds(origin),
            (*gradients.values(), *self._between_stages(gradients, seconds)),
            tuple(self._buckets(gradients, ready_s, seconds)),
        )  # fmt: skip
        self._own.clear()

    def _gradient(self, name: str, parameter: Tensor, ready_s: tuple[float, ...], owner: int | None) -> Gradient:
        own = self._own.get(name)
        made = Gradient(name, tuple(parameter.shape), 0, ready_s, owner=owner)
        if own is not None:
            made = replace(made, bytes=own.nbytes, norm_before=own.double().norm().item())
        if parameter.grad is None:
            return made
        key = key_of(name, parameter.grad)
        kept = Piece(key.offset, key.shape) if key.shape != made.shape else None
        return replace(made, norm_after=local(parameter.grad).double().norm().item(), kept=kept)

    def _compare(self, gradients: dict[str, Gradient]) -> None:
        """Fill in the means over ranks and the distances from them."""
        after = {name: parameter.grad for name, parameter in self._parameters.items() if parameter.grad is not None}
        kept = {key_of(name, gradient): local(gradient) for name, gradient in after.items()}
        for key, from_mean, mean, holders in deviations(self._had(after), self._group):
            found = {"mean_before": mean.norm().item()}
            if holders > 1:
                found["spread_before"] = from_mean.norm().item()
            gradients[key.name] = replace(gradients[key.name], **found)
        for key, from_mean, mean, holders in deviations(kept, self._group):
            if holders > 1:
                found = {"mean_after": mean.norm().item(), "spread_after": from_mean.norm().item()}
                gradients[key.name] = replace(gradients[key.name], **found)

    def _between_stages(self, gradients: dict[str, Gradient], seconds: Seconds) -> list[Gradient]:
        rounds = max((len(gradient.ready_s) for gradient in gradients.values()), default=0)
        return [] if self._edges is None else self._edges.gradients(seconds, rounds)

    def _had(self, after: dict[str, Tensor]) -> dict[Key, Tensor]:
        """Return this rank's input to the reduction: its gradients, zeros for those that only others computed."""
        had = {self._keys[name]: own for name, own in self._own.items()}
        for name in after.keys() - self._own.keys() - self._sharded:
            had[key_of(name, after[name])] = torch.zeros_like(local(after[name]))
        return had

    def _buckets(self, gradients: dict[str, Gradient], ready_s: dict, seconds: Seconds) -> list[Bucket]:
        ops = [replace(e, issue_s=seconds(e.issue_s)) for e in self._entries[self._first :] if isinstance(e, PendingOp)]
        last_s = {name: times[-1] for name, times in ready_s.items() if times}
        if planned := planned_buckets(self._model, self._names):
            return on_wire(planned, last_s, ops)
        return fitting({name: gradient.bytes for name, gradient in gradients.items()}, last_s, ops)


def _group_of(model: nn.Module) -> dist.ProcessGroup | None:
    """Return DDP's own process group, otherwise None for all ranks."""
    return model.process_group if isinstance(model, DistributedDataParallel) else None
