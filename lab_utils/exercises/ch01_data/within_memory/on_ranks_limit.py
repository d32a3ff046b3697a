"""An enforced memory limit for whole tensors: it counts a rank's storages, and raises at the op that exceeds it.

Deterministic, unlike a process's memory: a storage counts from the op that allocates it until nothing refers to it.
gloo's thread refers to an op's tensors a moment longer than the op's wait: too much is only what it does not free then.
"""

from __future__ import annotations

import queue
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lab_utils.exercises.ch01_data.within_memory.words import WithinMemory as say

RELEASED_S = 2.0  # time for gloo's thread to run on a busy machine: milliseconds on a quiet one
LIBRARIES = tuple(str(Path(file).parents[up]) for file, up in ((torch.__file__, 0), (__file__, 3)))


class OutOfMemory(RuntimeError):
    """More bytes of whole tensors than the limit allows."""


class UsedAfterFree(RuntimeError):
    """A tensor was used whose storage has no memory any more."""


class MemoryLimit(TorchDispatchMode):
    """Counts new storages of a piece's size or more, and raises OutOfMemory when together they exceed the limit.

    weights   the layers' whole weights [C, C], by which a storage is recognised in a message
    pieces    this rank's parts of them, which do not count, nor do their gradients
    layers    the limit, in whole weights
    """

    def __init__(self, weights: Sequence[Tensor], pieces: Sequence[nn.Parameter], layers: float) -> None:
        super().__init__()
        self._pieces, self._layers = pieces, layers
        self._weight_bytes, self._least_bytes = weights[0].nbytes, pieces[0].nbytes
        self._sorted = [weight.flatten().sort().values for weight in weights]
        self._here: dict[int, weakref.ref[torch.UntypedStorage]] = {}  # a storage's object lives as long as it does
        self._released: queue.SimpleQueue[None] = queue.SimpleQueue()  # one item for each storage; reentrant
        self._names: dict[int, str] = {}
        self._given = [each.untyped_storage() for piece in pieces for each in (piece, piece.grad)]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for tensor in _tensors((args, kwargs)):
            storage = tensor.untyped_storage()
            self._name(storage)
            if self._is_here(storage) and storage.nbytes() < tensor.nbytes:
                raise UsedAfterFree(say.freed.format(what=self._names.get(id(storage), say.some_weight)))
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            self._see(tensor, func)
        self._check()
        return made

    def left(self) -> str:
        """Describe what is still there; "" if nothing."""
        self._layers_here(0)
        return self._told(self._counted())

    def _see(self, tensor: Tensor, func: torch._ops.OpOverload) -> None:
        storage = tensor.untyped_storage()
        given = any(storage is each for each in self._given)
        if given or self._is_here(storage) or storage.nbytes() < self._least_bytes:
            return
        self._here[id(storage)] = weakref.ref(storage, lambda _: self._released.put(None))
        self._names.pop(id(storage), None)
        if "empty" in func.name() and tensor.is_floating_point():
            tensor.fill_(torch.nan)  # what was freed here before would look like a gathered weight

    def _is_here(self, storage: torch.UntypedStorage) -> bool:
        seen = self._here.get(id(storage))
        return seen is not None and seen() is storage

    def _counted(self) -> list[torch.UntypedStorage]:
        gradients = {id(piece.grad.untyped_storage()) for piece in self._pieces if piece.grad is not None}
        alive = [storage for seen in self._here.values() if (storage := seen()) is not None]
        large = [each for each in alive if each.nbytes() >= self._least_bytes]
        return [each for each in large if id(each) not in gradients or each.nbytes() > self._least_bytes]

    def _check(self) -> None:
        layers = self._layers_here(self._layers)
        if layers > self._layers:
            what = self._told(self._counted())
            raise OutOfMemory(say.over.format(layers=layers, limit=self._layers, what=what))

    def _layers_here(self, most: float) -> float:
        """Return what is here, in whole weights; above `most`, once gloo's thread has released what it still holds."""
        until_s = time.monotonic() + RELEASED_S
        while (layers := sum(storage.nbytes() for storage in self._counted()) / self._weight_bytes) > most:
            try:
                self._released.get(timeout=max(0, until_s - time.monotonic()))
            except queue.Empty:
                break
        return layers

    def _told(self, storages: Sequence[torch.UntypedStorage]) -> str:
        """Say which weights these are, and how many others."""
        for storage in storages:
            self._name(storage)
        names = sorted({self._names[id(each)] for each in storages if id(each) in self._names})
        if others := sum(id(each) not in self._names for each in storages):
            names.append(say.others[others > 1].format(count=others))
        *names, last = names or [""]
        return say.joined.format(names=", ".join(names), last=last) if names else last

    def _name(self, storage: torch.UntypedStorage) -> None:
        """Recognise a whole weight by its elements, in whatever order its rows are."""
        if id(storage) in self._names or not self._is_here(storage) or storage.nbytes() != self._weight_bytes:
            return
        found = torch.empty(0, dtype=self._sorted[0].dtype).set_(storage).sort().values
        for layer, weight in enumerate(self._sorted):
            if torch.equal(found, weight):
                self._names[id(storage)] = say.weight.format(layer=layer)


@contextmanager
def raised_at_the_reader_s_line() -> Iterator[None]:
    """Let the traceback of a limit's error end in the reader's code: without the frames of torch and of the lab."""
    try:
        yield
    except (OutOfMemory, UsedAfterFree) as error:
        last = at = error.__traceback__
        while at is not None:
            if not at.tb_frame.f_code.co_filename.startswith(LIBRARIES):
                last = at
            at = at.tb_next
        last.tb_next = None
        raise


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
