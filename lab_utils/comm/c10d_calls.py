"""How c10d calls a process group: its methods, what their users call them, and what they are given."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.distributed as dist

# c10d's method → the name the user called. Methods missing here are not on the wire and go straight through.
COLLECTIVES = {
    "allreduce": "all_reduce",
    "allreduce_coalesced": "all_reduce",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "allgather": "all_gather",
    "_allgather_base": "all_gather",
    "all_gather_single": "all_gather",
    "allgather_coalesced": "all_gather",
    "gather": "gather",
    "scatter": "scatter",
    "reduce_scatter": "reduce_scatter",
    "_reduce_scatter_base": "reduce_scatter",
    "reduce_scatter_single": "reduce_scatter",
    "alltoall": "all_to_all",
    "alltoall_base": "all_to_all",
    "all_to_all_single": "all_to_all",
    "barrier": "barrier",
}
_ROOTED = {"broadcast", "reduce", "gather", "scatter"}
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
        return _flat(args[0]) if args else []
    return (_flat(args[1]) if len(args) > 1 else []) or _flat(args[0])


def what_is_compared(method: str, args: tuple, ranks: tuple[int, ...], given: str) -> str:
    """What every one of `ranks` must bring alike: "sum float32 x 4096", "root 0 float32 x 8", "float32".

    given   the elements that this rank gives, as `elements` writes them
    """
    if method in _REDUCING and (op := getattr(args[-1], "reduceOp", None)) is not None:
        given = f"{_REDUCTIONS[op.op]} {given}"
    if method in _ROOTED:
        if method == "scatter":  # only the root gives, but all get
            given = elements(args[0][0].dtype, args[0][0].numel())
        given = f"root {ranks[args[-1].rootRank]} {given}"
    return given.partition(" ")[0] if method in _OWN_SIZES else given


@lru_cache(maxsize=4096)
def elements(dtype: torch.dtype, count: int) -> str:
    """Elements as ranks compare them: "float32 x 8". Their shape may differ: it does not go over the wire."""
    return f"{str(dtype)[len('torch.') :]} x {count}"


def is_asynchronous(args: tuple) -> bool:
    """What the options say, which come last. A caller that passes none gets a work to wait for."""
    return getattr(args[-1], "asyncOp", True) if args else True


def _flat(given) -> list[torch.Tensor]:
    """The tensors in what c10d passes: one tensor, a list, or a list of lists; none in its options."""
    if isinstance(given, (list, tuple)):
        if len(given) == 1 and isinstance(given[0], torch.Tensor):  # nearly always
            return given
        return [tensor for part in given for tensor in _flat(part)]
    return [given] if isinstance(given, torch.Tensor) else []
