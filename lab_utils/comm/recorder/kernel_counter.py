"""Counts the kernels that run on a rank's thread during a recording: FLOPs, and bytes read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch._C import _get_dispatch_mode, _TorchDispatchModeKey
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode, _push_mode
from torch.utils.flop_counter import flop_registry

from lab_utils.comm.recorder import compiled_code
from lab_utils.comm.recorder.bytes_and_flops import Uncounted, flops_of, is_common, is_meta, size_of, tensors_in
from lab_utils.comm.recorder.live_memory import LiveBytes, is_wrapper
from lab_utils.comm.recorder.pending_op import Counts

aten = torch.ops.aten

# Ops that have the FLOPs of another in torch's registry, with arguments in the same positions: attention on the CPU
# those of flash attention, products that add in place those that return a new tensor.
_AS = {
    aten.addmm_: aten.addmm,
    aten.baddbmm_: aten.baddbmm,
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}
_NOT_COMPUTING = {"c10d", "_c10d_functional", "_c10d_functional_autograd", "_dtensor", "profiler"}  # namespaces
# Ops that only allocate, or whose schema is misleading.
_NOT_KERNELS = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_efficientzerotensor", "_unsafe_view",
    "lift_fresh",
}  # fmt: skip
_OVERWRITES = {"copy_", "fill_", "zero_", "_foreach_copy_", "_foreach_zero_", "all_gather_copy_in"}
# Ops that touch part of an argument: its position, and that of the argument as large as the part (-1: the result).
_TOUCHES = {
    "embedding": (0, -1), "index": (0, -1), "index_select": (0, -1), "gather": (0, -1), "take": (0, -1),
    "index_put_": (0, 2), "_index_put_impl_": (0, 2), "index_add_": (0, 3), "index_copy_": (0, 3),
    "scatter_": (0, 3), "scatter_add_": (0, 3), "all_gather_copy_in": (1, 0),
}  # fmt: skip

COMPILED = (
    "the recording counts kernels, and those of code that torch.compile made cannot be counted (flex_attention and "
    "torch.cond compile by themselves): record with count=False, or leave torch.compile away"
)


class _Kernel(NamedTuple):
    """How to count an op. `updated`: positions of arguments read and written; `fresh`: its results are new tensors."""

    formula: Callable[..., int] | None
    updated: tuple[int, ...]
    fresh: bool
    touches: tuple[int, int] | None


class KernelCounter(TorchDispatchMode):
    """Counts the kernels of this thread while entered: forward, backward, optimizer, DDP's copies.

    FLOPs are computed from shapes by `torch.utils.flop_counter`, for attention on the CPU too. Bytes are those of a
    kernel's inputs and outputs: tensors updated in place count as read and written, lookups (embedding, index) count
    only what they touch, an expanded tensor counts once. Views, empty tensors and collectives count nothing. For
    DTensors and other subclasses the local kernels count; an op on a list of tensors is one kernel.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.live = LiveBytes()
        self._flops = self._bytes = self._other_bytes = self._kernels = self._uncounted = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # compiled code is rejected earlier, so no per-op guard is needed

    def take(self) -> Counts:
        """Return what was counted since the last `take`."""
        live, (peak, rises) = self.live.bytes, self.live.take()
        counts = Counts(self._flops, self._bytes, self._other_bytes, self._kernels, live, peak, self._uncounted, rises)
        self._flops = self._bytes = self._other_bytes = self._kernels = self._uncounted = 0
        return counts

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if _get_dispatch_mode(_TorchDispatchModeKey.FAKE) is not None:
            return func(*args, **(kwargs or {}))  # shapes only, as DTensor and fully_shard compute them
        if types and any(map(is_wrapper, types)):
            return NotImplemented  # the wrapper calls again with its inner tensors
        kernel = _kernel_of(func)
        if kernel is None:
            return func(*args, **kwargs) if kwargs else func(*args)
        if kernel is _COMPOSITE:
            if all(map(is_common, tensors_in(args))):
                with self:
                    return func._op_dk(_IMPLICIT, *args, **(kwargs or {}))
            self._uncounted += 1  # it may have its own kernel for such tensors
            return func(*args, **(kwargs or {}))
        out = func(*args, **kwargs) if kwargs else func(*args)
        try:
            if kernel.fresh:
                self.live.see(out)
            if kernel is not _ROOM:
                self._count(kernel, args, kwargs, out)
        except Exception:  # of whatever kind the tensors are, the program goes on
            self._uncounted += 1
        return out

    def aside(self, call: Callable[[], Any]) -> Any:
        """Call it uncounted. An op on its way to gloo would pass by here, which takes as long as 15 kernels do."""
        if _get_current_dispatch_mode() is not self:  # in another thread, or inside an op that is being counted
            return call()
        _pop_mode()
        try:
            return call()
        finally:
            _push_mode(self)

    def _count(self, kernel: _Kernel, args: tuple, kwargs: dict | None, out: Any) -> None:
        if is_meta(out):
            return
        size = size_of(args)
        if kwargs:
            size += size_of(kwargs.values())
        if kernel.fresh:
            size += size_of((out,))
        for place in kernel.updated:
            size += size_of(args[place : place + 1])
        if kernel.touches is not None:
            size -= _untouched(kernel, args, out)
        if kernel.formula is None:
            self._other_bytes += size
        else:
            self._flops += flops_of(kernel.formula, args, kwargs or {}, out)
            self._bytes += size
        self._kernels += 1
        self.live.kernels = self._kernels


@contextmanager
def counting(counter: KernelCounter) -> Iterator[None]:
    """Raise RuntimeError, with the remedy in its text, when code compiled by torch.compile runs inside.

    torch would run it uncompiled under a dispatch mode like ours, and never compile it again.
    """
    try:
        with compiled_code.refused(), counter.live.followed(), counter:
            yield
    except RuntimeError as error:
        if compiled_code.STANCE in str(error):
            error.args = (COMPILED,)
        raise


# ---------------------------------------------------------------------- what an op is
_IMPLICIT = torch._C.DispatchKey.CompositeImplicitAutograd
# Composed of other ops, which are counted. Seen in inference mode only: elsewhere autograd has decomposed it already.
_COMPOSITE = _Kernel(None, (), False, None)


_ROOM = _Kernel(None, (), True, None)  # no kernel, but it may return new tensors


def _not_known(*_: Any, **__: Any) -> int:
    raise Uncounted("an op that torch describes in no way that we know")


_UNKNOWN = _Kernel(_not_known, (), False, None)


@cache
def _kernel_of(func: OpOverload | HigherOrderOperator) -> _Kernel | None:
    """Return how to count the op; None when it runs no kernel and creates nothing."""
    try:
        return _as_described(func)
    except Exception:  # counting must never end the program
        return _UNKNOWN


def _as_described(func: OpOverload | HigherOrderOperator) -> _Kernel | None:
    if isinstance(func, HigherOrderOperator):
        return _Kernel(flop_registry.get(func), (), True, None)
    if func.namespace in _NOT_COMPUTING:
        return _ROOM
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _IMPLICIT):
        return _COMPOSITE
    name = func._schema.name.partition("::")[2]
    if name in _NOT_KERNELS:
        return _ROOM
    if func.is_view or torch.Tag.inplace_view in func.tags:
        return None
    written = [i for i, argument in enumerate(func._schema.arguments) if _is_written(argument)]
    fresh = all(result.alias_info is None and "Tensor" in str(result.type) for result in func._schema.returns)
    fresh = fresh and bool(func._schema.returns)
    if not written and not fresh:
        return None  # a query
    overwrites = name in _OVERWRITES or torch.Tag.nondeterministic_seeded in func.tags
    updated = [i for i in written if not func._schema.arguments[i].kwarg_only]
    packet = func._overloadpacket
    return _Kernel(
        flop_registry.get(_AS.get(packet, packet)), () if overwrites else tuple(updated), fresh, _TOUCHES.get(name)
    )


def _is_written(argument: torch.Argument) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _untouched(kernel: _Kernel, args: tuple, out: Any) -> int:
    place, part = kernel.touches
    touched = out if part < 0 else args[part]
    untouched = max(0, size_of((args[place],)) - size_of((touched,)))
    return untouched * (1 + (place in kernel.updated))
