"""Counts the bytes held by this rank's live tensors: the current value, and the peak since the last query."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from lab_utils.comm.recorder.bytes_and_flops import parts
from lab_utils.timeline.ops import Rise

RISES = 8  # at most, of an op


class _Held(weakref.ref):
    """A weak reference to a storage that is held elsewhere."""

    __slots__ = ("bytes", "key")


@cache
def is_wrapper(kind: type) -> bool:
    """Return whether this tensor class wraps other tensors (`__torch_dispatch__`) and owns no memory."""
    return kind.__torch_dispatch__ is not Tensor.__torch_dispatch__


class TensorSearch:
    """All tensors of Python: found among the objects of the garbage collector, of which there are many.

    So those of the last search are remembered, and as long as no collection has made objects old since, only the young
    ones are gone through. A process that is forked inherits what its parent has found.
    """

    def __init__(self) -> None:
        self._found: list[weakref.ref[Tensor]] = []
        self._collections: list[int] | None = None  # at the last search

    def find(self) -> list[Tensor]:
        """Return them, each once."""
        collections = _collections_that_age()
        found = self._with_young() if collections == self._collections else None
        if found is None:
            # An object refers to its class, so they are asked for by theirs: `gc.get_objects()` would write into every
            # object, and a forked process copies each page that it writes.
            found = [each for each in gc.get_referrers(*_with_subclasses(Tensor)) if issubclass(type(each), Tensor)]
        self._found, self._collections = [weakref.ref(each) for each in found], collections
        return found

    def _with_young(self) -> list[Tensor] | None:
        """Return those found before and still there, and the young; None if one may have become old meanwhile."""
        young = [each for age in (0, 1) for each in gc.get_objects(age) if issubclass(type(each), Tensor)]
        if _collections_that_age() != self._collections:
            return None
        return list({id(each): each for each in (*(ref() for ref in self._found), *young) if each is not None}.values())


def _collections_that_age() -> list[int]:
    """Return how many collections there were after which survivors are in the oldest generation."""
    every = [each["collections"] for each in gc.get_stats()]
    return every[1:] if sys.version_info < (3, 14) else every  # from 3.14 on any may move them there


tensors = TensorSearch()


def _with_subclasses(kind: type) -> Iterator[type]:
    yield kind
    for each in type.__subclasses__(kind):
        yield from _with_subclasses(each)


class LiveBytes:
    """Sums the bytes of the storages it is shown, each for as long as a tensor holds it.

    A storage shared by several views counts once. Not included: storages that C++ holds and Python has never seen
    (DDP's buckets, if DDP was created before), and a kernel's workspace.
    """

    def __init__(self) -> None:
        self.bytes = self._peak = 0
        self.kernels = 0  # that ran since the last `take`, of whoever counts them
        self._began_s, self._rises = time.perf_counter(), [(0.0, 0, 0)]
        self._held: dict[int, weakref.ref] = {}  # a storage's object lives as long as the storage itself

    def see(self, made: Any) -> None:
        """Count a tensor, or a list of them, new or seen before."""
        if isinstance(made, Tensor):
            if not made.is_meta and not is_wrapper(type(made)):
                for part in (made,) if made.layout is torch.strided else parts(made):
                    self._hold(part.untyped_storage())
        elif isinstance(made, list | tuple):
            for part in made:
                self.see(part)

    def take(self) -> tuple[int, tuple[Rise, ...]]:
        """Return the peak since the last call, and how the bytes rose to it."""
        peak = self._peak
        rises = _coarse(self._rises, self._began_s, time.perf_counter(), self.kernels)
        self._peak, self.kernels, self._rises = self.bytes, 0, [(0.0, 0, self.bytes)]
        self.begin()
        return peak, rises

    def begin(self) -> None:
        """Let the time of what rises begin now: until here the rank was in an op."""
        self._began_s = time.perf_counter()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Count existing tensors, and follow FSDP2, which empties and refills the same storages."""
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
        with torch._C.DisableTorchFunctionSubclass():  # must not call into the user's classes
            for tensor in tensors.find():
                with suppress(Exception):  # some have no storage, and user classes may raise anything
                    self._see_existing_one(tensor)
        self.take()

    def _see_existing_one(self, tensor: Tensor) -> None:
        if is_wrapper(type(tensor)) or is_lazy(tensor):
            return
        self.see(tensor)
        if tensor.is_leaf and tensor.grad is not None:  # may be held by C++ only
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
            self._rises.append((time.perf_counter(), self.kernels, self.bytes))


def _coarse(rises: list[tuple[float, int, int]], began_s: float, ended_s: float, kernels: int) -> tuple[Rise, ...]:
    """Return the first value, the peak and at most RISES - 2 between, each at the time when it was reached."""
    first, peak = rises[0][2], rises[-1][2]
    kept, stairs = [rises[0]], max(1, RISES - 1)
    for before, rise in pairwise(rises):
        stair, next_stair = (stairs * (each[2] - first) // (peak - first) for each in (before, rise))
        if next_stair > stair:
            kept.append(rise)
    seconds, kernels = (ended_s - began_s) or 1.0, kernels or 1
    return tuple(Rise(min(1.0, max(0.0, at_s - began_s) / seconds), ran / kernels, held) for at_s, ran, held in kept)
