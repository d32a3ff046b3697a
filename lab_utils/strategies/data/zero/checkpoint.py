"""Sharded checkpoints: each rank writes its pieces, and any number of ranks can read them.

A file has per parameter name the range of elements that the rank owned, with their values and optimizer state. Rank
0's file also has what is not sharded: frozen parameters and buffers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab_utils.strategies.data.zero.flat_parameters import FlatParameters

PARAMETER = "parameter"


class Sharded(Protocol):
    """Any of ZeRO's three stages."""

    model: nn.Module
    flats: list[FlatParameters]
    optimizer: torch.optim.Optimizer
    group: dist.ProcessGroup

    def refresh(self) -> None:
        """Update whole parameters after a change of the pieces."""


class Part(NamedTuple):
    """Elements first to end of a flattened parameter, with their optimizer state; scalars (the step) unsharded."""

    first: int
    end: int
    values: dict[str, Tensor]


def save(folder: str | Path, zero: Sharded) -> None:
    """Write this rank's pieces; return when all ranks have. Existing files are replaced only once all are written."""
    rank, ranks = zero.group.rank(), zero.group.size()
    parts = {name: Part(first, end, values) for name, first, end, values in _parts(zero)}
    groups = [{k: v for k, v in each.items() if k != "params"} for each in zero.optimizer.param_groups]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f".{rank}.writing"
    # Plain tuples: reading a file then needs nothing of the lab.
    others = dict(_others(zero)) if rank == 0 else {}
    parts = {name: tuple(part) for name, part in parts.items()}
    torch.save({"ranks": ranks, "groups": groups, "parts": parts, "others": others}, written)
    dist.barrier(zero.group)
    written.replace(folder / f"{rank}.pt")
    dist.barrier(zero.group)
    if rank == 0:
        for left in set(folder.glob("*.pt")) - {folder / f"{each}.pt" for each in range(ranks)}:
            left.unlink()  # from an earlier save by more ranks


def load(folder: str | Path, zero: Sharded) -> None:
    """Load this rank's pieces and optimizer state. ValueError when the model has other parameter names."""
    groups, saved, others = _read(folder)
    names = {name for flat in zero.flats for name in flat.names}
    if odd := sorted(names ^ saved.keys()):
        raise ValueError(f"{folder} was saved from another model: {odd[0]} is in one of them only")
    for flat in zero.flats:
        for name, first, end, place in flat.spans(zero.group):
            for part in saved[name]:
                _copy(part, first, end, flat.piece, place, zero.optimizer)
    for name, tensor in _others(zero):
        tensor.copy_(others[name])
    for group, found in zip(zero.optimizer.param_groups, groups, strict=True):
        group.update(found)
    zero.refresh()


def whole(folder: str | Path) -> dict[str, dict[str, Tensor]]:
    """Return all parameters and their optimizer state, unsharded: {name: {"parameter": [numel], "exp_avg": ...}}."""
    _, saved, _ = _read(folder)
    return {
        name: {
            key: torch.cat([part.values[key] for part in parts]) if value.dim() else value.clone()
            for key, value in parts[0].values.items()
        }
        for name, parts in saved.items()
    }


def _parts(zero: Sharded) -> Iterator[tuple[str, int, int, dict[str, Tensor]]]:
    for flat in zero.flats:
        values = {PARAMETER: flat.piece.detach(), **zero.optimizer.state.get(flat.piece, {})}
        for name, first, end, place in flat.spans(zero.group):
            # Cloned, as torch.save writes a view's whole storage.
            yield name, first, end, {k: v[place].clone() if v.dim() else v for k, v in values.items()}


def _others(zero: Sharded) -> Iterator[tuple[str, Tensor]]:
    """Yield frozen parameters and buffers, which every rank has whole."""
    for name, parameter in zero.model.named_parameters():
        if not parameter.requires_grad:
            yield name, parameter.detach()
    yield from zero.model.named_buffers()


def _read(folder: str | Path) -> tuple[list[dict[str, Any]], dict[str, list[Part]], dict[str, Tensor]]:
    files = sorted(Path(folder).glob("*.pt"))
    if not files:
        raise ValueError(f"{folder} holds no saved pieces: they are files named 0.pt, 1.pt and so on")
    read = [torch.load(file, mmap=True, weights_only=True) for file in files]
    if len(read) != read[0]["ranks"]:
        raise ValueError(f"{folder} was saved by {read[0]['ranks']} ranks, and {len(read)} of their files are there")
    saved: dict[str, list[Part]] = defaultdict(list)
    for each in read:
        for name, part in each["parts"].items():
            saved[name].append(Part(*part))
    in_order = {name: sorted(parts, key=lambda part: part.first) for name, parts in saved.items()}
    return read[0]["groups"], in_order, {name: each for file in read for name, each in file["others"].items()}


@torch.no_grad()
def _copy(
    part: Part, first: int, end: int, piece: torch.nn.Parameter, place: slice, optimizer: torch.optim.Optimizer
) -> None:
    """Copy the saved part's overlap with elements first to end into the piece, where those are at `place`."""
    begin, stop = max(first, part.first), min(end, part.end)
    if begin >= stop:
        return
    shift = place.start - first
    state = optimizer.state[piece] if len(part.values) > 1 else {}
    for key, value in part.values.items():
        if not value.dim():
            state[key] = value.clone()
            continue
        if key != PARAMETER and key not in state:
            state[key] = torch.zeros_like(piece, dtype=value.dtype)
        into = piece if key == PARAMETER else state[key]
        into[begin + shift : stop + shift] = value[begin - part.first : stop - part.first]
