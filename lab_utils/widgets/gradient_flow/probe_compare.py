"""How far the gradients of ranks are from their mean, with collectives that no recording sees."""

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

_AT_ONCE = 1 << 22  # elements that are compared in one go: 32 MB


class Key(NamedTuple):
    """Tensors with equal keys ought to be equal on all ranks: a parameter's name, and the piece of it."""

    name: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]


class Deviation(NamedTuple):
    """`from_mean` and `mean` are float64, of the key's shape. `holders` ranks hold it."""

    key: Key
    from_mean: Tensor
    mean: Tensor
    holders: int


def key_of(name: str, tensor: Tensor) -> Key:
    """What of the whole tensor this rank holds. A sum that ranks still have to add up (Partial) is held whole."""
    if isinstance(tensor, DTensor):
        shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
        return Key(name, tuple(offset), tuple(shape))
    return Key(name, (0,) * tensor.dim(), tuple(tensor.shape))


def distance(key: Key, tensor: Tensor, around: Key, mean: Tensor) -> float | None:
    """Of what is kept from the same box of the mean; None where that lies outside of what the mean is known of."""
    starts = [mine - other for mine, other in zip(key.offset, around.offset, strict=True)]
    ends = [start + size for start, size in zip(starts, key.shape, strict=True)]
    if any(start < 0 or end > size for start, end, size in zip(starts, ends, around.shape, strict=True)):
        return None
    box = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
    return (tensor.to(mean) - mean[box]).norm().item()


def local(tensor: Tensor) -> Tensor:
    """What of it lies on this rank."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@contextmanager
def unrecorded() -> Iterator[None]:
    """Ops, kernels and time inside are in no recording: the one under way goes on where it was.

    A phase begins while the recording still listens, which accounts for the time until now, and ends while another
    listens, which is thrown away.
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
    """For each tensor that this rank holds, how far it is from the mean over the ranks that hold its key.

    A collective: every rank of the group must exhaust it. Differences are taken from the first holder's values, so
    that equal tensors differ by exactly 0. A piece without elements (a shard of what is too small for all ranks) has
    no other holder: there is nothing to agree about.
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
    """The keys in the order of their names, which is equal on all ranks, in lots of a bounded size."""
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
    """Where collectives take their tensors."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
