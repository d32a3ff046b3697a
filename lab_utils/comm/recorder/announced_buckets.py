"""Gradient buckets of strategies with their own reduction: which parameters are sent together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary, WeakMethod

from torch import nn

# Per bucket: its parameters, bytes sent, and the name of its op.
Parts = Iterable[tuple[Sequence[nn.Parameter], int, str]]

_announced: WeakKeyDictionary[nn.Module, WeakMethod] = WeakKeyDictionary()


def announce(model: nn.Module, buckets: Callable[[], Parts]) -> None:
    """Declare which gradients of this model are sent together, for pictures to query. `buckets` is a bound method.

    For strategies that reduce gradients without DDP or FSDP. Holds weak references to both.
    """
    _announced[model] = WeakMethod(buckets)


def announced(model: nn.Module) -> Parts:
    """Return what was announced for this model; nothing if its strategy is gone."""
    buckets = _announced[model]() if model in _announced else None
    return buckets() if buckets else ()
