"""How c10d calls a process group: its methods, what their users call them, and what they are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C import _distributed_c10d as c10d

# What an op is called that carries another: a picture should show the collective that a program means.
#
# gloo carries some collectives worse than others, so a strategy may build one of another. A trace then tells the one
# that was built, which on other hardware is what runs.
_shown_as: ContextVar[tuple[str, Tensor] | None] = ContextVar("told", default=None)


@contextmanager
def show_as(name: str, given: Tensor) -> Iterator[None]:
    """Inside, collectives are told by that name, and as giving that tensor, whatever they give themselves.

    >>> with told_as("reduce_scatter", whole):
    ...     dist.all_to_all_single(received, whole)
    """
    token = _shown_as.set((name, given))
    try:
        yield
    finally:
        _shown_as.reset(token)


def told(name: str, given: list[Tensor]) -> tuple[str, list[Tensor]]:
    """What to call a collective, and what it gives: as `told_as` says, else as it is."""
    said = _shown_as.get()
    return (name, given) if said is None else (said[0], [said[1]])


class Called(NamedTuple):
    """A method of a group's as c10d calls it: with so many arguments, the last of which are its options."""

    name: str  # what the user called
    arguments: int
    options: type


# c10d's method → how it is called. Methods missing here are not on the wire and go straight through.
COLLECTIVES = {
    "allreduce": Called("all_reduce", 2, c10d.AllreduceOptions),
    "allreduce_coalesced": Called("all_reduce", 2, c10d.AllreduceCoalescedOptions),
    "broadcast": Called("broadcast", 2, c10d.BroadcastOptions),
    "reduce": Called("reduce", 2, c10d.ReduceOptions),
    "allgather": Called("all_gather", 3, c10d.AllgatherOptions),
    "_allgather_base": Called("all_gather", 3, c10d.AllgatherOptions),
    "all_gather_single": Called("all_gather", 3, c10d.AllgatherOptions),
    "allgather_coalesced": Called("all_gather", 3, c10d.AllgatherOptions),
    "gather": Called("gather", 3, c10d.GatherOptions),
    "scatter": Called("scatter", 3, c10d.ScatterOptions),
    "reduce_scatter": Called("reduce_scatter", 3, c10d.ReduceScatterOptions),
    "_reduce_scatter_base": Called("reduce_scatter", 3, c10d.ReduceScatterOptions),
    "reduce_scatter_single": Called("reduce_scatter", 3, c10d.ReduceScatterOptions),
    "alltoall": Called("all_to_all", 3, c10d.AllToAllOptions),
    "alltoall_base": Called("all_to_all", 5, c10d.AllToAllOptions),
    "all_to_all_single": Called("all_to_all", 5, c10d.AllToAllOptions),
    "barrier": Called("barrier", 1, c10d.BarrierOptions),
}
ROOTED = {"broadcast", "reduce", "gather", "scatter"}
_REDUCING = {
    "allreduce", "allreduce_coalesced", "reduce", "reduce_scatter", "_reduce_scatter_base", "reduce_scatter_single",
}  # fmt: skip
_OWN_SIZES = {"alltoall", "alltoall_base", "all_to_all_single"}
_REDUCTIONS = {op: op.name.lower() for op in dist.ReduceOp.RedOpType.__members__.values()}
# Their first argument is the tensors; that of all others is what the rank gets, and the second what it gives.
_IN_PLACE = {"allreduce", "allreduce_coalesced", "broadcast", "reduce", "barrier"}


def given_tensors(method: str, args: tuple) -> list[torch.Tensor]:
    """The tensors that this rank gives to a collective; what it gets, where it gives none (a scatter of another's)."""
    if method in _IN_PLACE:
        return _flat(args[0])
    return _flat(args[1]) or _flat(args[0])


def what_is_compared(method: str, args: tuple, ranks: tuple[int, ...], given: str) -> str:
    """What every one of `ranks` must bring alike: "sum float32 x 4096", "root 0 float32 x 8", "float32".

    given   the elements that this rank gives, as `elements` writes them
    """
    if method in _REDUCING:
        given = f"{_REDUCTIONS[args[-1].reduceOp.op]} {given}"
    if method in ROOTED:
        if method == "scatter" and args[0]:  # only the root gives, but all get
            given = elements(args[0][0].dtype, args[0][0].numel())
        given = f"root {ranks[args[-1].rootRank]} {given}"
    return given.partition(" ")[0] if method in _OWN_SIZES else given


@lru_cache(maxsize=4096)
def elements(dtype: torch.dtype, count: int) -> str:
    """Elements as ranks compare them: "float32 x 8". Their shape may differ: it does not go over the wire."""
    return f"{str(dtype)[len('torch.') :]} x {count}"


def _flat(given) -> list[torch.Tensor]:
    """The tensors in what c10d passes: one tensor, a list, or a list of lists; none in its options."""
    if isinstance(given, (list, tuple)):
        if len(given) == 1 and isinstance(given[0], torch.Tensor):  # nearly always
            return given
        return [tensor for part in given for tensor in _flat(part)]
    return [given] if isinstance(given, torch.Tensor) else []
