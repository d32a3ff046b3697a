"""`with saved_for_backward(model) as saved:` counts the tensors that operations inside save for backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.tensor import DTensor

from lab_utils.widgets.gradient_flow.probe_buckets import modules_by_name
from lab_utils.widgets.shard_map.record import Saved

OUTSIDE = "outside of the model"


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[SavedForBackward]:
    """Count activations: storages that operations inside the block save for backward, each once.

    >>> with saved_for_backward(model) as saved:
    ...     loss = model(x).mean()
    >>> saved.bytes, saved.by_module

    Parameters, buffers and the whole parameters that FSDP gathers do not count. If a backward inside the block frees
    some (micro-batches of a pipeline), the peak counts.
    """
    saved = SavedForBackward(model)
    try:
        with saved_tensors_hooks(saved._pack, _Packed.unpack):
            yield saved
    finally:
        saved._close()


class SavedForBackward:
    """What was saved for backward at the peak.

    bytes       of all saved storages
    by_module   the same by the innermost running module, in the order of their first tensors
    """

    def __init__(self, model: nn.Module) -> None:
        self._at_work = [OUTSIDE]
        self._live: dict[int, _Kept] = {}
        self._live_bytes = self.bytes = 0
        self.by_module: tuple[Saved, ...] = ()
        self._own = set(_keys([*model.parameters(), *model.buffers()]))
        self._open = True
        named = {module: name for name, module in reversed(list(modules_by_name(model)))}  # the first name counts
        self._hooks = [hook for module, name in named.items() for hook in self._watch(name[:-1], module)]

    def _watch(self, name: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        def enter(module: nn.Module, *_) -> None:
            self._at_work.append(name or "the model")
            # FSDP has gathered by now. A storage keeps its identity when its memory is freed and allocated again.
            self._own.update(_keys(module.parameters(recurse=False)))

        yield module.register_forward_pre_hook(enter)
        yield module.register_forward_hook(lambda *_: self._at_work.pop() and None, always_call=True)

    def _pack(self, tensor: Tensor) -> _Packed:
        key = _key(tensor)
        if key not in self._own:
            if key not in self._live:
                self._live[key] = _Kept(self._at_work[-1], _plain(tensor).untyped_storage().nbytes())
                self._live_bytes += self._live[key].bytes
            self._live[key].times += 1
        return _Packed(tensor, self, key)

    def _let_go(self, key: int) -> None:
        kept = self._live.get(key)
        if kept is None or not self._open:
            return
        self._note_most()
        kept.times -= 1
        if not kept.times:
            self._live_bytes -= self._live.pop(key).bytes

    def _note_most(self) -> None:
        if self._live_bytes <= self.bytes:
            return
        self.bytes = self._live_bytes
        sums: dict[str, list[int]] = {}
        for kept in self._live.values():
            sums.setdefault(kept.module, []).append(kept.bytes)
        self.by_module = tuple(Saved(name, len(sizes), sum(sizes)) for name, sizes in sums.items())

    def _close(self) -> None:
        self._note_most()
        self._open = False
        self._live.clear()
        for hook in self._hooks:
            hook.remove()


class _Kept:
    """A saved storage, and the number of saved tensors that use it."""

    __slots__ = ("bytes", "module", "times")

    def __init__(self, module: str, size_bytes: int) -> None:
        self.module, self.bytes, self.times = module, size_bytes, 0


class _Packed:
    """Replaces a saved tensor in the graph and notifies the owner when the graph frees it."""

    __slots__ = ("key", "owner", "tensor")

    def __init__(self, tensor: Tensor, owner: SavedForBackward, key: int) -> None:
        self.tensor, self.owner, self.key = tensor, owner, key

    def unpack(self) -> Tensor:
        return self.tensor

    def __del__(self) -> None:
        self.owner._let_go(self.key)


def _plain(tensor: Tensor) -> Tensor:
    """Return the local tensor that owns the memory."""
    while isinstance(tensor, DTensor | AsyncCollectiveTensor):
        tensor = tensor._local_tensor if isinstance(tensor, DTensor) else tensor.elem
    return tensor


def _keys(tensors: Iterable[Tensor]) -> Iterator[int]:
    """Yield keys of non-empty storages: ZeRO frees empty ones, and others may reuse their address."""
    return (_key(tensor) for tensor in tensors if _plain(tensor).untyped_storage().nbytes())


def _key(tensor: Tensor) -> int:
    """Return the identity of the tensor's storage, equal for tensors that share memory."""
    return _plain(tensor).untyped_storage()._cdata
