"""Compare the ranks' gradients with their mean, using collectives that no recording contains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.utils._python_dispatch import _disable_current_modes

from lab_utils.comm.recorder.recorder import Recording, phase, recorder

_AT_ONCE = 1 << 22  # elements compared at once: 32 MB


class Key(NamedTuple):
    """A parameter's name and a piece of it: tensors with equal keys should be equal on all ranks."""

    name: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]


class Deviation(NamedTuple):
    """Distance from the mean over `holders` ranks; `from_mean` and `mean` are float64, of the key's shape."""

    key: Key
    from_mean: Tensor
    mean: Tensor
    holders: int


def key_of(name: str, tensor: Tensor) -> Key:
    """Return which piece of the whole tensor this rank holds. A Partial placement counts as whole."""
    if isinstance(tensor, DTensor):
        shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
        return Key(name, tuple(offset), tuple(shape))
    return Key(name, (0,) * tensor.dim(), tuple(tensor.shape))


def local(tensor: Tensor) -> Tensor:
    """Return this rank's local tensor, detached."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@contextmanager
def unrecorded() -> Iterator[None]:
    """Keep the ops, kernels and time inside out of the current recording, which then continues.

    The phase begins in the current recording, to account for the time until now, and ends in a second one that is
    discarded.
    """
    kept = recorder.recording
    with _disable_current_modes():
        if kept is None:
            yield
            return
        try:
            with phase("unrecorded"):
                recorder.recording = Recording()
                yield
        finally:
            recorder.recording = kept


@torch.no_grad()
def deviations(held: dict[Key, Tensor], group: dist.ProcessGroup | None) -> Iterator[Deviation]:
    """Yield the deviation of each tensor that this rank holds from the mean over the ranks that hold its key.

    A collective: every rank of the group must exhaust it. Differences are taken from the first holder's values, so
    that equal tensors differ by exactly 0. An empty piece (a shard of a tensor too small for all ranks) counts as
    having one holder.
    """
    everyone: list[list[Key] | None] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everyone, list(held), group=group)
    holders: dict[Key, list[int]] = {}
    for member, keys in enumerate(everyone):
        for key in keys:
            holders.setdefault(key, []).append(member)
    shared = [key for key, members in holders.items() if len(members) > 1 and prod(key.shape)]
    for key in held.keys() - set(shared):
        yield Deviation(key, torch.zeros(key.shape), held[key].double(), 1)
    for keys in _batches(shared):
        yield from _batch(keys, held, holders, group)


def _batches(keys: list[Key]) -> Iterator[list[Key]]:
    """Yield the keys sorted by name, an order equal on all ranks, in batches of at most _AT_ONCE elements."""
    batch, size = [], 0
    for key in sorted(keys):
        if batch and size + prod(key.shape) > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += prod(key.shape)
    if batch:
        yield batch


def _batch(
    keys: list[Key], held: dict[Key, Tensor], holders: dict[Key, list[int]], group: dist.ProcessGroup | None
) -> Iterator[Deviation]:
    me, device = dist.get_rank(group), _device()
    zeros = [torch.zeros(key.shape, dtype=torch.float64, device=device) for key in keys]
    own = [held[key].to(zero) if key in held else zero for key, zero in zip(keys, zeros, strict=True)]
    first = [mine if holders[key][0] == me else zero for key, mine, zero in zip(keys, own, zeros, strict=True)]
    reference = _sum(first, group)
    differences = [
        mine - other if key in held else zero
        for key, mine, other, zero in zip(keys, own, reference, zeros, strict=True)
    ]
    for key, difference, total, other in zip(keys, differences, _sum(differences, group), reference, strict=True):
        if key in held:
            mean = total / len(holders[key])
            yield Deviation(key, difference - mean, other + mean, len(holders[key]))


def _sum(tensors: list[Tensor], group: dist.ProcessGroup | None) -> list[Tensor]:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat, group=group)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def _device() -> torch.device:
    """Return the device of the collectives' tensors."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
