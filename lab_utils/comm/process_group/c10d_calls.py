"""How c10d calls a process group: its methods, the names users know them by, and their arguments."""

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

# gloo runs some collectives worse than others, so a strategy may build one from another. The trace then has the one
# that was meant, which is what other hardware runs, and marks what ran in its place.
_stands_for: ContextVar[tuple[str, Tensor] | None] = ContextVar("stands_for", default=None)


@contextmanager
def standing_for(name: str, given: Tensor) -> Iterator[None]:
    """Record collectives inside as `name` with this input tensor, and mark them with what ran.

    >>> with standing_for("reduce_scatter", whole):
    ...     dist.all_to_all_single(received, whole)  # an Op of name reduce_scatter, run_as all_to_all
    """
    token = _stands_for.set((name, given))
    try:
        yield
    finally:
        _stands_for.reset(token)


def meant(name: str, given: list[Tensor]) -> tuple[str, list[Tensor], str]:
    """Return the name and input tensors to record for a collective, and what it is run as: "" when as itself."""
    stands_for = _stands_for.get()
    return (name, given, "") if stands_for is None else (stands_for[0], [stands_for[1]], name)


class Called(NamedTuple):
    """How c10d calls a method of a group: with this many arguments, the last of which are its options."""

    name: str  # what the user called
    arguments: int
    options: type


# c10d's method -> how it is called. Methods not listed here send nothing and are forwarded directly.
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
# Their first argument is the tensors; for all others the first is the outputs and the second the inputs.
_IN_PLACE = {"allreduce", "allreduce_coalesced", "broadcast", "reduce", "barrier"}


def given_tensors(method: str, args: tuple) -> list[torch.Tensor]:
    """Return this rank's inputs of a collective; its outputs where it has no input (a scatter from another rank)."""
    if method in _IN_PLACE:
        return _flat(args[0])
    return _flat(args[1]) or _flat(args[0])


def what_is_compared(method: str, args: tuple, ranks: tuple[int, ...], given: str) -> str:
    """Return what must match on all `ranks`: "sum float32 x 4096", "root 0 float32 x 8", "float32".

    given   the elements of this rank's input, as `elements` formats them
    """
    if method in _REDUCING:
        given = f"{_REDUCTIONS[args[-1].reduceOp.op]} {given}"
    if method in ROOTED:
        if method == "scatter" and args[0]:  # only the root has inputs, but all have outputs
            given = elements(args[0][0].dtype, args[0][0].numel())
        given = f"root {ranks[args[-1].rootRank]} {given}"
    return given.partition(" ")[0] if method in _OWN_SIZES else given


@lru_cache(maxsize=4096)
def elements(dtype: torch.dtype, count: int) -> str:
    """Format elements as ranks compare them: "float32 x 8". Shapes may differ: they are not sent."""
    return f"{str(dtype)[len('torch.') :]} x {count}"


def _flat(given) -> list[torch.Tensor]:
    """Return the tensors in an argument of c10d: one tensor, a list, or a list of lists; options have none."""
    if isinstance(given, (list, tuple)):
        if len(given) == 1 and isinstance(given[0], torch.Tensor):  # nearly always
            return given
        return [tensor for part in given for tensor in _flat(part)]
    return [given] if isinstance(given, torch.Tensor) else []
