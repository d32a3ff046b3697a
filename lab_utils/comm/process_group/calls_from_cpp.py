"""Calls from C++ that would bypass our groups and works: pybind forwards only some of their methods to Python.

- A method of ProcessGroup that pybind does not forward runs in C++ only, when compiled code calls it or when it is
  called through one of the short overloads: these are handled here.
- A Work that Python releases while C++ still holds it loses its Python methods: C++ gets one that keeps them.
- torch.compile would compile our functions: it is told to skip them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._C import _distributed_c10d as c10d
from torch._C._distributed_c10d import ProcessGroup, Work
from torch._C._dynamo import eval_frame

_library = torch.library.Library("_c10d_functional", "IMPL")


class _Thread(threading.local):
    """read: works created since pybind began to parse the current call."""

    read: list[Work] | None = None


_thread = _Thread()


def made(work: Work) -> Work:
    if _thread.read is not None:
        _thread.read.append(work)
    return work


def read_by_pybind(group: ProcessGroup, method: str, args: tuple, kwargs: dict) -> Work:
    """Let pybind parse a call that does not pass options; pybind then calls the group again with options.

    Overloads for which pybind would not call back are parsed here. Invalid calls are left for pybind to reject.
    """
    for read in _READ.get(method, ()):
        try:
            passed = read(*args, **kwargs)
        except (TypeError, AttributeError):  # another overload
            continue
        return getattr(group, method)(*passed)
    before, _thread.read = _thread.read, []
    try:
        work = getattr(ProcessGroup, method)(group, *args, **kwargs)
        return _thread.read[-1] if _thread.read else work
    finally:
        _thread.read = before


def _with(kind: type, **told: Any) -> Any:
    options = kind()
    for name, value in told.items():
        if value is not None:
            setattr(options, name, value)
    return options


def _list(given: Any) -> list:
    if isinstance(given, Tensor):
        raise TypeError("a tensor is no list of them")
    return list(given)


def _one(given: Any) -> Tensor:
    if not isinstance(given, Tensor):
        raise TypeError(f"{type(given).__name__} is no tensor")
    return given


def _options(given: Any, kind: type) -> Any:
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"{type(given).__name__} are no {kind.__name__}")
    return kind() if given is None else given


_READ = {
    "reduce": (
        lambda tensors, opts=None: (_list(tensors), _options(opts, c10d.ReduceOptions)),
        lambda tensor, root, op=None, timeout=None: (
            [_one(tensor)],
            _with(c10d.ReduceOptions, rootRank=root, reduceOp=op and c10d.ReduceOp(op), timeout=timeout),
        ),
    ),
    "gather": (
        lambda output_tensors, input_tensors, opts=None: (
            _list(output_tensors), _list(input_tensors), _options(opts, c10d.GatherOptions),
        ),
        lambda output_tensors, input_tensor, root, timeout=None: (
            [_list(output_tensors)] if output_tensors else [], [_one(input_tensor)],
            _with(c10d.GatherOptions, rootRank=root, timeout=timeout),
        ),
    ),
    "scatter": (
        lambda output_tensors, input_tensors, opts=None: (
            _list(output_tensors), _list(input_tensors), _options(opts, c10d.ScatterOptions),
        ),
        lambda output_tensor, input_tensors, root, timeout=None: (
            [_one(output_tensor)], [_list(input_tensors)] if input_tensors else [],
            _with(c10d.ScatterOptions, rootRank=root, timeout=timeout),
        ),
    ),
    "alltoall": (
        lambda output_tensors, input_tensors, opts=None: (
            _list(output_tensors), _list(input_tensors), _options(opts, c10d.AllToAllOptions),
        ),
    ),
    "allgather_coalesced": (
        lambda output_lists, input_list, opts=None: (
            _list(output_lists), _list(input_list), _options(opts, c10d.AllgatherOptions),
        ),
    ),
    **dict.fromkeys(("_allgather_base", "all_gather_single"), (
        lambda output, input, opts=None: (_one(output), _one(input), _options(opts, c10d.AllgatherOptions)),
    )),
    **dict.fromkeys(("_reduce_scatter_base", "reduce_scatter_single"), (
        lambda outputTensor, inputTensor, opts=None: (  # noqa: N803
            _one(outputTensor), _one(inputTensor), _options(opts, c10d.ReduceScatterOptions),
        ),
    )),
}  # fmt: skip


# ---------------------------------------------------------------------- an op that bypasses the group's methods
def stand_before_ops() -> None:
    """Make compiled code call the group's own method too: only this op would bypass it."""
    _library.impl("all_gather_into_tensor_out", _all_gather_into_tensor_out, "CPU")
    _library.impl("all_gather_into_tensor_out", _all_gather_into_tensor_out, "CUDA")


def _all_gather_into_tensor_out(given: Tensor, group_size: int, group_name: str, *, out: Tensor) -> Tensor:
    """Do what c10d's C++ implementation does, through the group's method."""
    work = c10d._resolve_process_group(group_name).all_gather_single(out, given.contiguous(), c10d.AllgatherOptions())
    c10d._register_work(out, work)
    return out


# ---------------------------------------------------------------------- works that C++ holds
class _Keeper(ProcessGroup):
    """A group whose barrier returns `work`: pybind wraps it in a C++ Work, which keeps it alive and forwards to it."""

    def __init__(self, work: Work):
        super().__init__(0, 1)
        self._work = work

    def barrier(self, _: c10d.BarrierOptions) -> Work:
        return self._work


def lasting(work: Work) -> Work:
    """Return a Work for C++ to hold that forwards to this one, even after Python has released it."""
    return ProcessGroup.barrier(_Keeper(work))


def give_lasting(ours: type[Work]) -> None:
    """Pass `lasting` works of the types `ours` to C++, in the two places where it takes works from Python."""

    def for_cpp(work: Work) -> Work:
        return lasting(work) if isinstance(work, ours) else work

    take, register = c10d.Reducer._set_forward_pass_work_handle, c10d._register_work

    def _set_forward_pass_work_handle(reducer: c10d.Reducer, work: Work, divides_by_all: bool) -> None:
        take(reducer, for_cpp(work), divides_by_all)

    def _register_work(tensor: Tensor, work: Work) -> None:
        register(tensor, for_cpp(work))

    c10d.Reducer._set_forward_pass_work_handle, c10d._register_work = _set_forward_pass_work_handle, _register_work


# ---------------------------------------------------------------------- torch.compile
def never_compiled(*holders: ModuleType | type) -> None:
    """Exclude the functions of these modules and classes, and everything they call, from torch.compile."""
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
