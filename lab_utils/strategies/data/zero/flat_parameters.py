"""Flat parameters of which each rank's optimizer updates one piece: shared by ZeRO's three stages.

Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (SC 20), section 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies.data.buckets.bucket import Bucket, assign_buckets
from lab_utils.strategies.data.zero.shard_collectives import all_gather

WHOLE_TENSORS = ("Adafactor", "LBFGS", "Muon", "SparseAdam")


@dataclass(eq=False, slots=True)
class FlatParameters:
    """Consecutive parameters in one tensor.

    whole    [numel], padded to a multiple of the ranks; the parameters are views into it
    piece    [numel / ranks], this rank's part, which its optimizer updates
    bucket   for their gradients
    """

    names: tuple[str, ...]
    whole: Tensor
    piece: nn.Parameter
    bucket: Bucket

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        return self.bucket.parameters

    def show(self) -> None:
        """Point the parameters at their parts of `whole`."""
        for parameter, view in zip(self.parameters, self.bucket.views_of(self.whole), strict=True):
            parameter.data = view

    def free(self) -> None:
        """Free the whole parameters: they are empty until the next `take` and `show`."""
        for parameter in self.parameters:
            parameter.data = parameter.data.new_empty(0)
        self.whole.untyped_storage().resize_(0)

    def take(self) -> None:
        """Allocate the whole parameters again."""
        self.whole.untyped_storage().resize_(self.whole.nbytes)

    @property
    def shapes(self) -> list[torch.Size]:
        return [view.shape for view in self.bucket.views]

    def gather(self, group: dist.ProcessGroup) -> dist.Work:
        """Start to gather all pieces into `whole`; wait for the work returned."""
        with torch.no_grad():
            return all_gather(self.whole, self.piece.detach(), group)

    def spans(self, group: dist.ProcessGroup) -> Iterator[tuple[str, int, int, slice]]:
        """Yield which elements of which parameters this rank's piece has: (name, first, end, slice of the piece)."""
        begin = group.rank() * self.piece.numel()
        at = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            first, end = max(begin, at), min(begin + self.piece.numel(), at + shape.numel())
            if first < end:
                yield name, first - at, end - at, slice(first - begin, end - begin)
            at += shape.numel()


def flatten(
    parameters: Sequence[nn.Parameter],
    names: dict[nn.Parameter, str],
    optimizer: torch.optim.Optimizer,
    group: dist.ProcessGroup,
    bytes_each: int,
) -> list[FlatParameters]:
    """Move parameters into flat tensors of at least this many bytes, in this order.

    A flat tensor has one dtype, and belongs to one of the optimizer's parameter groups.
    """
    of_group = {p: number for number, each in enumerate(optimizer.param_groups) for p in each["params"]}
    missing = [names[p] for p in parameters if p not in of_group]
    if missing:
        raise ValueError(f"the optimizer does not update {missing[0]}: pass it model.parameters(), or freeze that one")
    flats = []
    for number in sorted({of_group[p] for p in parameters}):
        members = [p for p in parameters if of_group[p] == number]
        for bucket in assign_buckets(members, bytes_each, bytes_each, group.size()):
            flats.append(_flat(bucket, names, group))
    return number_buckets(flats)


def number_buckets(flats: list[FlatParameters]) -> list[FlatParameters]:
    """Number the buckets, which are sent in this order."""
    for number, flat in enumerate(flats):
        flat.bucket.number = number
    return flats


def _flat(bucket: Bucket, names: dict[nn.Parameter, str], group: dist.ProcessGroup) -> FlatParameters:
    whole = bucket.copy_of_parameters()
    piece = nn.Parameter(whole.chunk(group.size())[group.rank()])
    flat = FlatParameters(tuple(names[p] for p in bucket.parameters), whole, piece, bucket)
    flat.show()
    return flat


def update_pieces_only(optimizer: torch.optim.Optimizer, flats: Sequence[FlatParameters]) -> None:
    """Replace the parameters in a plain optimizer's groups by this rank's pieces of them.

    Exact for element-wise updates, as SGD's and Adam's. ValueError for an optimizer that needs whole tensors, or that
    has already run steps.
    """
    kind = type(optimizer).__name__
    if kind in WHOLE_TENSORS:
        raise ValueError(f"{kind} needs whole tensors, and a rank has pieces: use an element-wise one such as AdamW")
    if optimizer.state:
        raise ValueError(f"this {kind} has made steps: shard it before the first one, or load its state afterwards")
    for group in optimizer.param_groups:
        members = set(group["params"])
        group["params"] = [flat.piece for flat in flats if flat.parameters[0] in members]
