"""Counts what autograd keeps for the backward of a model, storage by storage."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from lab_utils.strategies.model.activations.terms import Kept


class _Packed:
    """What autograd holds in place of a tensor, so that its life is the tensor's time of being kept."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()


class KeptTensors:
    """What autograd keeps of the forwards inside `kept_by`, at any moment: after a backward, nothing."""

    def __init__(self, model: nn.Module) -> None:
        self._own = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._running = [""]  # names of the modules whose forward runs, the innermost last
        self._packed: list[tuple[str, weakref.ref[_Packed]]] = []

    @property
    def rows(self) -> tuple[Kept, ...]:
        """Each storage once, in the order in which they were first kept. Parameters and buffers are left out."""
        found: dict[int, Kept] = {}
        for module, reference in self._packed:
            if (packed := reference()) is None or (key := _storage(packed.tensor)) in self._own:
                continue
            tensor = packed.tensor
            size = tensor.untyped_storage().nbytes()
            found.setdefault(key, Kept(module, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), size))
        return tuple(found.values())

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    def pack(self, tensor: Tensor) -> _Packed:
        packed = _Packed(tensor)
        self._packed.append((self._running[-1], weakref.ref(packed)))
        return packed

    def follow(self, name: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Note while the module's forward runs; yield the hooks to remove."""
        yield module.register_forward_pre_hook(lambda *_: self._running.append(name))
        yield module.register_forward_hook(lambda *_: self._ended(), always_call=True)

    def _ended(self) -> None:
        self._running.pop()


@contextmanager
def kept_by(model: nn.Module) -> Iterator[KeptTensors]:
    """Count what the forwards inside keep for their backwards, by the module that runs.

    >>> with kept_by(model) as kept:
    ...     _, loss = model(x, y)
    >>> kept.rows, kept.bytes         # as long as the loss lives, and until its backward

    A region that is recomputed (`recompute`) keeps its inputs alone. Of it torch also keeps the random state, 5,056
    bytes, which is no tensor of the graph and does not count.
    """
    kept = KeptTensors(model)
    with ExitStack() as removed, torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda packed: packed.tensor):
        for name, module in model.named_modules():
            for handle in kept.follow(name, module):
                removed.callback(handle.remove)
        yield kept


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
