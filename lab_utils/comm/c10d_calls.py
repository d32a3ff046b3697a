"""How c10d calls a process group: its methods, what their users call them, and what they are given."""

from __future__ import annotations

import torch

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
# Their first argument is the tensors; that of all others is what the rank gets, and the second what it gives.
_IN_PLACE = {"allreduce", "allreduce_coalesced", "broadcast", "reduce", "barrier"}


def given_tensors(method: str, args: tuple) -> list[torch.Tensor]:
    """The tensors that this rank gives to a collective; what it gets, where it gives none (a scatter of another's)."""
    if method in _IN_PLACE:
        return _flat(args[:1])
    return _flat(args[1:2]) or _flat(args[:1])


def is_asynchronous(args: tuple) -> bool:
    """What the options say, which come last. A caller that passes none gets a work to wait for."""
    return getattr(args[-1], "asyncOp", True) if args else True


def _flat(given) -> list[torch.Tensor]:
    """The tensors in what c10d passes: one tensor, a list, or a list of lists; none in its options."""
    if isinstance(given, torch.Tensor):
        return [given]
    if isinstance(given, (list, tuple)):
        return [tensor for part in given for tensor in _flat(part)]
    return []
