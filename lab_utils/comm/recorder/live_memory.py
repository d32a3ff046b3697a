"""How many bytes the live tensors of this rank hold: now, and at most since this was last asked."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from lab_utils.comm.recorder.sizes import parts


class _Held(weakref.ref):
    """A storage that is held by somebody, but not by us."""

    __slots__ = ("bytes", "key")


@cache
def is_wrapper(kind: type) -> bool:
    """Whether a tensor of that class takes itself apart: it holds other tensors, and no memory of its own."""
    return kind.__torch_dispatch__ is not Tensor.__torch_dispatch__


class LiveBytes:
    """Adds up the storages of the tensors that it is shown, each for as long as some tensor holds it.

    A storage that several views share counts once. What C++ holds and Python has never seen is not known (DDP's
    buckets, where DDP was made before), nor what a kernel needs while it runs.
    """

    def __init__(self) -> None:
        self.bytes = self._peak = 0
        self._held: dict[int, weakref.ref] = {}  # a storage's object lives as long as the storage itself

    def see(self, made: Any) -> None:
        """A tensor, or a list of them, new or seen before."""
        if isinstance(made, Tensor):
            if not made.is_meta and not is_wrapper(type(made)):
                for part in (made,) if made.layout is torch.strided else parts(made):
                    self._hold(part.untyped_storage())
        elif isinstance(made, list | tuple):
            for part in made:
                self.see(part)

    def peak(self) -> int:
        """The most since this was last asked."""
        peak, self._peak = self._peak, self.bytes
        return peak

    @contextmanager
    def followed(self) -> Iterator[None]:
        """See the tensors that there are, and what FSDP2 makes of them: it empties and fills the same storages."""
        self._see_existing()
        resize = torch.UntypedStorage.resize_

        def followed_resize(storage: torch.UntypedStorage, size: int) -> Any:
            resized = resize(storage, size)
            if (held := self._held.get(id(storage))) is not None:
                self._set(held, storage.nbytes())
            return resized

        torch.UntypedStorage.resize_ = followed_resize
        try:
            yield
        finally:
            torch.UntypedStorage.resize_ = resize
            self._held.clear()  # and with them the callbacks

    def _see_existing(self) -> None:
        self.bytes = 0
        with torch._C.DisableTorchFunctionSubclass():  # a class of the user's is not to notice
            for thing in gc.get_objects():
                if issubclass(type(thing), Tensor):
                    with suppress(Exception):  # some have no storage, and a class of the user's may have anything
                        self._see_existing_one(thing)
        self.peak()

    def _see_existing_one(self, tensor: Tensor) -> None:
        if is_wrapper(type(tensor)) or is_lazy(tensor):
            return
        self.see(tensor)
        if tensor.is_leaf and tensor.grad is not None:  # which only C++ may have
            self.see(tensor.grad)

    def _hold(self, storage: torch.UntypedStorage) -> None:
        if id(storage) not in self._held:
            held = self._held[id(storage)] = _Held(storage, self._let_go)
            held.key, held.bytes = id(storage), 0
            self._set(held, storage.nbytes())

    def _let_go(self, held: _Held) -> None:
        if self._held.pop(held.key, None) is held:
            self._set(held, 0)

    def _set(self, held: _Held, size: int) -> None:
        self.bytes += size - held.bytes
        held.bytes = size
        if self.bytes > self._peak:
            self._peak = self.bytes
