"""Cut tokens into blocks, blocks into batches, and batches into the ranks' parts.

n blocks   block = tokens per block
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .hashing import permutation
from .shards import Range


@dataclass(frozen=True, slots=True)
class Blocks:
    """Inputs x [n, block] and targets y [n, block], the next token at each position. int64."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, blocks: NDArray[np.int64] | slice) -> Blocks:
        """Select blocks by their numbers."""
        return Blocks(self.x[blocks], self.y[blocks])


def cut(ids: NDArray[np.int64], block: int) -> Blocks:
    """Cut ids [tokens] into as many whole blocks as fit; the remainder is dropped."""
    if block < 1:
        raise ValueError(f"block={block}: a block needs at least 1 token.")
    n = (len(ids) - 1) // block  # the last target is one token after the last input
    if n < 1:
        raise ValueError(
            f"The text is {len(ids)} tokens long, but one block of {block} and its last target need "
            f"{block + 1}: use a longer text or a shorter block."
        )
    return Blocks(ids[: n * block].reshape(n, block), ids[1 : n * block + 1].reshape(n, block))


def split(ids: NDArray[np.int64], held_out: float = 0.1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split into the front of the text for training and its last fraction `held_out` for evaluation.

    Split before cutting: blocks share a token with their neighbour, and a shuffle would mix the parts.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out={held_out} is not between 0 and 1: it is the fraction that is kept apart.")
    at = len(ids) - round(len(ids) * held_out)
    return ids[:at], ids[at:]


@dataclass(frozen=True, slots=True)
class Batches:
    """The blocks of each step's batch, as a function of (seed, step).

    So ranks agree without communication, and a stopped run can resume at any step.

    Every epoch is a new permutation of all n blocks; its last n % batch, which do not fill a batch, are left out.
    """

    n: int
    batch: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.n:
            raise ValueError(f"batch={self.batch} is not between 1 and the {self.n} blocks that there are.")

    @property
    def steps_per_epoch(self) -> int:
        return self.n // self.batch

    def __getitem__(self, step: int) -> NDArray[np.int64]:
        """Block numbers of one step, [batch]."""
        epoch, at = divmod(step, self.steps_per_epoch)
        return _epoch_order(self.n, self.seed, epoch)[at * self.batch : (at + 1) * self.batch]

    def part(self, step: int, rank: int, ranks: int) -> NDArray[np.int64]:
        """One rank's part of a step's block numbers; the parts in rank order are the batch, equal to within 1."""
        if not 0 <= rank < ranks <= self.batch:
            raise ValueError(
                f"rank {rank} of {ranks} gets no part of a batch of {self.batch}: 0 <= rank < ranks <= batch must hold."
            )
        return self[step][Range().assign(self.batch, ranks) == rank]


@lru_cache(maxsize=2)
def _epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = permutation(n, seed, epoch)
    order.flags.writeable = False  # the cached array is shared between callers
    return order
