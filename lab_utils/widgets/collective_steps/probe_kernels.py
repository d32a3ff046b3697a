"""Which input elements each output element of a torch kernel comes from: data-moving kernels run on places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from lab_utils.comm.recorder.bytes_and_flops import tensors_in

PlacesOf = Callable[[Tensor], Tensor]  # tensor → int64 of its shape: the place of each element, or record.NOTHING

_MOVES = {
    "cat", "stack", "index", "index_select", "gather", "take", "take_along_dim", "flip", "roll", "repeat",
    "masked_select", "select_backward", "slice_backward",
}  # fmt: skip
_COPIES = {"clone", "_to_copy", "contiguous", "_reshape_copy"}
_REDUCES = {"sum", "mean", "nansum", "prod", "amax", "amin", "max", "min"}
_KEEPS = {"maximum", "minimum", "fmax", "fmin", "amax", "amin", "max", "min", "where", "clamp", "logical_or",
          "logical_and", "bitwise_or", "bitwise_and"}  # fmt: skip
_CLEARS = {"fill_", "zero_"}


class Move(NamedTuple):
    """A write: element i of `target` is computed from the i-th place of each of `sources`; see record.Wrote.

    at   flat indices of the elements of `target` that are written; None for all
    """

    target: Tensor
    sources: tuple[Tensor, ...]
    how: str
    at: Tensor | None = None


def moves(func: OpOverload, args: tuple, kwargs: dict[str, Any], out: Any, places_of: PlacesOf) -> Iterator[Move]:
    """Yield what the kernel wrote, with places from `places_of`. Views write nothing."""
    name = func._schema.name.partition("::")[2]
    written = list(_written(func, args, kwargs))
    if func.is_view or _only_makes_room(name) or torch.Tag.inplace_view in func.tags:
        return
    if name in _CLEARS or (written and torch.Tag.nondeterministic_seeded in func.tags):
        yield from (Move(target, (), "adds") for target in written)
    elif name.startswith("_foreach_"):
        yield from _foreach(name, args, written or tensors_in([out]), places_of)
    else:
        targets = written or [made for made in tensors_in([out]) if not _shares(made, args)]
        if targets:
            yield _move(func, name, args, kwargs, targets[0], places_of)
            # A second result, such as the index of max, is not a rank's part.


def _move(func: OpOverload, name: str, args: tuple, kwargs: dict, target: Tensor, places_of: PlacesOf) -> Move:
    how = "keeps" if name.rstrip("_") in _KEEPS else "adds"
    if name == "copy_":
        return Move(target, (places_of(args[1]).expand(target.shape),), how)
    if name == "index_put_":
        return _put(target, args, places_of)
    if name in _COPIES:
        return Move(target, (places_of(args[0]),), how)
    if name in _MOVES:
        return Move(target, (func(_places(args[0], places_of), *args[1:]),), how)
    if name in _REDUCES and "other" not in kwargs and not any(isinstance(arg, Tensor) for arg in args[1:]):
        return Move(target, tuple(_layers(places_of(args[0]), args[1:])), how)
    if torch.Tag.pointwise in func.tags:
        values = [kwargs[key] for key in kwargs if key != "out"]
        sources = [places_of(tensor).expand(target.shape) for tensor in tensors_in([*args, *values])]
        return Move(target, tuple(sources), how)
    return Move(target, tuple(places_of(tensor) for tensor in tensors_in([*args, *kwargs.values()])), "mixes")


def _put(target: Tensor, args: tuple, places_of: PlacesOf) -> Move:
    """`x[indices] = values`: only the indexed elements are written."""
    _, indices, values, *accumulate = args
    at = torch.ops.aten.index(torch.arange(target.numel()).view(target.shape), indices)
    sources = (places_of(values).expand(at.shape),)
    if any(accumulate):
        sources += (torch.ops.aten.index(places_of(target), indices),)
    return Move(target, sources, "adds", at)


def _foreach(name: str, args: tuple, targets: Iterable[Tensor], places_of: PlacesOf) -> Iterator[Move]:
    """Yield the moves of a kernel for lists of tensors: each target from the tensors at its index."""
    lists = [arg for arg in args if isinstance(arg, list | tuple) and arg and isinstance(arg[0], Tensor)]
    if name == "_foreach_copy_":
        lists = lists[1:]
    how = "keeps" if name.removeprefix("_foreach_").rstrip("_") in _KEEPS else "adds"
    for target, *sources in zip(targets, *lists, strict=True):
        yield Move(target, tuple(places_of(source).expand(target.shape) for source in sources), how)


def _layers(places: Tensor, rest: tuple) -> Iterator[Tensor]:
    """Yield the inputs of a reduction in layers, each with one element per result."""
    dims = rest[0] if rest and rest[0] is not None and rest[0] != [] else list(range(places.dim()))
    dims = [dims] if isinstance(dims, int) else list(dims)
    kept = [dim for dim in range(places.dim()) if dim not in {d % places.dim() for d in dims}]
    moved = places.permute([d % places.dim() for d in dims] + kept)
    yield from moved.reshape(-1, prod(places.shape[d] for d in kept))


def _places(given: Any, places_of: PlacesOf) -> Any:
    return places_of(given) if isinstance(given, Tensor) else [places_of(tensor) for tensor in given]


def _written(func: OpOverload, args: tuple, kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for at, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors_in([args[at] if at < len(args) else kwargs.get(argument.name)])


def _only_makes_room(name: str) -> bool:
    return name.startswith(("empty", "new_")) or name.endswith("_like")


def _shares(made: Tensor, args: tuple) -> bool:
    """Return whether it shares memory with an argument."""
    storage = made.untyped_storage()._cdata
    return any(tensor.untyped_storage()._cdata == storage for tensor in tensors_in(args))
