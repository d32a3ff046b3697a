"""A bucket: gradients of several parameters in one flat tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor, nn

NO_LIMIT = 2**62  # bytes: one bucket per dtype and device


@dataclass(eq=False, slots=True)
class Bucket:
    """A buffer for the gradients of some parameters.

    number   its position among the buckets: 0 is sent first
    flat     [numel], sent as one message, padded with zeros to a multiple of the ranks
    views    each parameter's part of `flat`, in the parameter's shape
    """

    number: int
    parameters: tuple[nn.Parameter, ...]
    flat: Tensor
    views: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        return self.flat.nbytes

    def items(self) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Iterate over the parameters, each with its view."""
        return zip(self.parameters, self.views, strict=True)

    def views_of(self, flat: Tensor) -> Iterator[Tensor]:
        """Iterate over each parameter's part of another tensor with the layout of `flat`."""
        return views(flat, [view.shape for view in self.views])

    @torch.no_grad()
    def copy_of_parameters(self) -> Tensor:
        """Return a copy of the parameters with the layout of `flat`, [numel]."""
        flat = torch.zeros_like(self.flat)
        torch._foreach_copy_(list(self.views_of(flat)), list(self.parameters))
        return flat

    def piece(self, group: dist.ProcessGroup) -> Tensor:
        """Return the part of `flat` that this rank owns when sharded, [numel / ranks]."""
        return self.flat.chunk(group.size())[group.rank()]

    def free(self) -> None:
        """Free the memory. The views remain valid for the next `take`."""
        self.flat.untyped_storage().resize_(0)

    def take(self) -> None:
        """Allocate memory again unless it is allocated: uninitialised, with zeros as padding."""
        storage, numel = self.flat.untyped_storage(), sum(view.numel() for view in self.views)
        if not storage.size():
            storage.resize_(self.flat.nbytes)
            self.flat[numel:].zero_()


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that get gradients, tied ones once. ValueError when there are none."""
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise ValueError(f"{type(model).__name__} has no parameter that requires a gradient: there is nothing to train")
    return found


def names_of(model: nn.Module) -> dict[nn.Parameter, str]:
    """Return the first name of each parameter."""
    return {parameter: name for name, parameter in model.named_parameters()}


def assign_buckets(order: Sequence[nn.Parameter], first_bytes: int, other_bytes: int, ranks: int) -> list[Bucket]:
    """Assign parameters to buckets of at least this many bytes; the last ones may be smaller.

    A bucket has one dtype and one device. Buckets are in the order in which their last gradients arrive.
    """
    begun: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    full: list[list[nn.Parameter]] = []
    for parameter in order:
        kind = (parameter.dtype, parameter.device)
        members = begun.setdefault(kind, [])
        members.append(parameter)
        if sum(each.nbytes for each in members) >= (other_bytes if full else first_bytes):
            full.append(begun.pop(kind))
    return [bucket_of(number, members, ranks) for number, members in enumerate([*full, *begun.values()])]


def bucket_of(number: int, parameters: Sequence[nn.Parameter], ranks: int) -> Bucket:
    """Return one bucket for all of these parameters, which have one dtype and one device."""
    numel = sum(parameter.numel() for parameter in parameters)
    flat = parameters[0].new_zeros(-(-numel // ranks) * ranks)
    return Bucket(number, tuple(parameters), flat, tuple(views(flat, [p.shape for p in parameters])))


def views(flat: Tensor, shapes: Sequence[torch.Size]) -> Iterator[Tensor]:
    """Iterate over consecutive parts of a flat tensor, in these shapes."""
    ends = accumulate(shape.numel() for shape in shapes)
    for shape, end in zip(shapes, ends, strict=True):
        yield flat[end - shape.numel() : end].view(shape)
