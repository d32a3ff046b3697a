"""Save and load what ZeRO shards: each rank writes its pieces, and any number of ranks reads them.

A file holds, by name of the parameter, which of its elements the rank had, and the parameter and optimizer state
there. Rank 0's holds also what is not sharded: frozen parameters and buffers.
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
        """Let whole parameters follow the pieces."""


class Part(NamedTuple):
    """Elements first to end of a flattened parameter, and its optimizer state there; scalars (the step) as they are."""

    first: int
    end: int
    values: dict[str, Tensor]


def save(folder: str | Path, zero: Sharded) -> None:
    """Write this rank's pieces; when it returns, all ranks have. A file that was there is replaced only when done."""
    rank, ranks = zero.group.rank(), zero.group.size()
    parts = {name: Part(first, end, values) for name, first, end, values in _parts(zero)}
    groups = [{k: v for k, v in each.items() if k != "params"} for each in zero.optimizer.param_groups]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f".{rank}.writing"
    # Part is a tuple, so that a file needs nothing of the lab to be read.
    others = dict(_others(zero)) if rank == 0 else {}
    parts = {name: tuple(part) for name, part in parts.items()}
    torch.save({"ranks": ranks, "groups": groups, "parts": parts, "others": others}, written)
    dist.barrier(zero.group)
    written.replace(folder / f"{rank}.pt")
    dist.barrier(zero.group)
    if rank == 0:
        for left in set(folder.glob("*.pt")) - {folder / f"{each}.pt" for each in range(ranks)}:
            left.unlink()  # of an earlier save by more ranks


def load(folder: str | Path, zero: Sharded) -> None:
    """Fill this rank's pieces, and its optimizer's state and groups. ValueError when the model's names are others."""
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
    """Every parameter with its optimizer state, put together: {name: {"parameter": [numel], "exp_avg": ...}}."""
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
            # Cloned: a view would be saved with all of the tensor that it looks at.
            yield name, first, end, {k: v[place].clone() if v.dim() else v for k, v in values.items()}


def _others(zero: Sharded) -> Iterator[tuple[str, Tensor]]:
    """What every rank has whole."""
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
    """Copy what a saved part has of elements first to end into the piece, which has them at `place`."""
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
