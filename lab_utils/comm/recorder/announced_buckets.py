"""Buckets of gradients that a strategy of its own reduces: it says which parameters go on the wire together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary, WeakMethod

from torch import nn

# Of each bucket: its parameters, bytes on the wire, and the name of the op that carries it.
Parts = Iterable[tuple[Sequence[nn.Parameter], int, str]]

_announced: WeakKeyDictionary[nn.Module, WeakMethod] = WeakKeyDictionary()


def announce(model: nn.Module, buckets: Callable[[], Parts]) -> None:
    """Let a picture of this model's gradients ask which go on the wire together. `buckets` is a bound method.

    For whatever reduces gradients in another way than DDP or FSDP. Neither is kept alive by it.
    """
    _announced[model] = WeakMethod(buckets)


def announced(model: nn.Module) -> Parts:
    """What was announced for this model; nothing where its strategy is gone."""
    buckets = _announced[model]() if model in _announced else None
    return buckets() if buckets else ()
