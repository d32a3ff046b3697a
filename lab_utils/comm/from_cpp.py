"""Where C++ would pass our groups and works by: pybind leads its calls to Python for some of their methods only.

- A method of a group's that pybind leaves out ends in an op of c10d's, and so do the shorter ways to call one: kernels
  of ours stand before those of c10d.
- A work that Python lets go of while C++ keeps it has lost its methods: C++ is given another, which keeps ours.
- torch.compile would compile what it meets of ours: it is told not to.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from datetime import timedelta
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch._C import _distributed_c10d as c10d
from torch._C._distributed_c10d import ProcessGroup, Work
from torch._C._dynamo import eval_frame

from lab_utils.comm.c10d_calls import COLLECTIVES

# Ops of c10d's whose methods pybind leaves out → the methods.
_OPS = {
    "_allgather_base_": "all_gather_single", "_reduce_scatter_base_": "reduce_scatter_single",
    "allgather_coalesced_": "allgather_coalesced", "reduce_": "reduce", "gather_": "gather", "scatter_": "scatter",
    "alltoall_": "alltoall", "recv_any_source_": "recv_anysource",
}  # fmt: skip
_IN_OPTIONS = {
    "reduce_op": "reduceOp", "root_rank": "rootRank", "root_tensor": "rootTensor", "async_op": "asyncOp",
    "timeout": "timeout",
}  # fmt: skip
_library = torch.library.Library("c10d", "IMPL")


class _Thread(threading.local):
    """forwarding: the ops that come are for the backend. read: works made since pybind was given a call to read."""

    forwarding = False
    read: list[Work] | None = None


_thread = _Thread()


@contextmanager
def forwarding():
    """Inside, c10d's ops are those of the group that carries one of ours."""
    before, _thread.forwarding = _thread.forwarding, True
    try:
        yield
    finally:
        _thread.forwarding = before


def made(work: Work) -> Work:
    if _thread.read is not None:
        _thread.read.append(work)
    return work


def read_by_pybind(group: ProcessGroup, method: str, args: tuple, kwargs: dict) -> Work:
    """A call in another of pybind's ways than with options: pybind reads it, and calls the group again with them."""
    before, _thread.read = _thread.read, []
    try:
        work = getattr(ProcessGroup, method)(group, *args, **kwargs)
        return _thread.read[-1] if _thread.read else work
    finally:
        _thread.read = before


# ---------------------------------------------------------------------- ops that come past the group's methods
def stand_before_ops(ours: type[ProcessGroup]) -> None:
    """From now on c10d's ops on a group of `ours` call its methods."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)  # torch's, of any second
        for name, method in _OPS.items():
            for key in ("CPU", "CUDA"):
                if torch._C._dispatch_has_kernel_for_dispatch_key(f"c10d::{name}", key):
                    _library.impl(name, _kernel(name, method, key, ours), key, with_keyset=True)


def _kernel(name: str, method: str, key: str, ours: type[ProcessGroup]) -> Callable:
    theirs = torch.library.get_kernel(f"c10d::{name}", key)
    schema = getattr(torch.ops.c10d, name).default._schema
    names = [argument.name for argument in schema.arguments]
    tensors, gives_outputs = names.index("process_group"), len(schema.returns) == 2

    def kernel(keys: torch._C.DispatchKeySet, *args: Any) -> Any:
        group = None if _thread.forwarding else ProcessGroup.unbox(args[tensors])
        if not isinstance(group, ours):
            return theirs.call_boxed(keys, *args)
        rest = dict(zip(names[tensors + 1 :], args[tensors + 1 :], strict=False))
        passed = _options(method, rest) if method in COLLECTIVES else rest["tag"]
        work = getattr(group, method)(*args[:tensors], passed).boxed()
        return (args[0], work) if gives_outputs else work

    return kernel


def _options(method: str, told: dict[str, Any]) -> Any:
    options = COLLECTIVES[method].options()
    for name, value in told.items():
        if name == "timeout":
            value = timedelta(milliseconds=value)
        elif name == "reduce_op":
            value = c10d.ReduceOp(c10d.ReduceOp.RedOpType(value.op()))
        setattr(options, _IN_OPTIONS[name], value)
    return options


# ---------------------------------------------------------------------- works that C++ keeps
class _Keeper(ProcessGroup):
    """What its barrier returns pybind hands to C++ inside a work of C++'s, which keeps it alive and asks it."""

    def __init__(self, work: Work):
        super().__init__(0, 1)
        self._work = work

    def barrier(self, _: c10d.BarrierOptions) -> Work:
        return self._work


def lasting(work: Work) -> Work:
    """A work for C++ to keep, which answers as this one does, also when Python has let go of that."""
    return ProcessGroup.barrier(_Keeper(work))


def give_lasting(ours: type[Work]) -> None:
    """From now on C++ is given `lasting` works of `ours`, in the two places where it takes some from Python."""

    def for_cpp(work: Work) -> Work:
        return lasting(work) if isinstance(work, ours) else work

    take, register = c10d.Reducer._set_forward_pass_work_handle, c10d._register_work

    def _set_forward_pass_work_handle(reducer: c10d.Reducer, work: Work, divides_by_all: bool) -> None:
        take(reducer, for_cpp(work), divides_by_all)

    def _register_work(tensor: torch.Tensor, work: Work) -> None:
        register(tensor, for_cpp(work))

    c10d.Reducer._set_forward_pass_work_handle, c10d._register_work = _set_forward_pass_work_handle, _register_work


# ---------------------------------------------------------------------- torch.compile
def never_compiled(*holders: ModuleType | type) -> None:
    """torch.compile leaves the functions of these modules and classes as they are, and all that they call."""
    skip = eval_frame._FrameExecStrategy(eval_frame._FrameAction.SKIP, eval_frame._FrameAction.SKIP)
    for holder in holders:
        for function in _functions(holder):
            function._torchdynamo_disable = True
            for code in _codes(function.__code__):
                eval_frame.set_code_exec_strategy(code, skip)


def _functions(holder: ModuleType | type) -> Iterable[FunctionType]:
    for value in list(vars(holder).values()):
        if isinstance(value, property):
            value = value.fget
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, type) and value.__module__ == getattr(holder, "__name__", None):
            yield from _functions(value)


def _codes(code: CodeType) -> Iterable[CodeType]:
    yield code
    for inside in code.co_consts:
        if isinstance(inside, CodeType):
            yield from _codes(inside)
