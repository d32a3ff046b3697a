"""Which tokens a rank of cp has, which blocks of the mask it computes, how even that is, what it sends. No torch.

Letters in this folder:  B batch   T tokens of the whole sequence   t tokens of this rank   C channels   H query heads
K key and value heads   D head width   n ranks of cp

Under a causal mask the last tokens attend to all others and the first to none, so a contiguous cut gives the last rank
most of the work (Brandon et al. 2023, "Striped Attention", arXiv 2311.09431). The zigzag cuts 2 n slices,
of which rank r has the r-th from the front and the r-th from the back (Llama Team 2024, "The Llama 3 Herd of Models",
arXiv 2407.21783, section 3.3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

IGNORED = -100  # the label that torch's cross entropy leaves out
Ids = TypeVar("Ids")  # an array or a tensor


class Block(NamedTuple):
    """A part of the mask that one rank computes in one round, in its own queries and the other's keys.

    first   the first of the rank's queries that takes part; all after it do
    keys    how many of the keys take part, from the first on
    causal  the block lies on the diagonal: query i attends to keys 0..i
    """

    first: int
    keys: int
    causal: bool


@dataclass(frozen=True, slots=True)
class SequenceSplit:
    """A sequence of T tokens cut over n ranks: 2 n slices in a zigzag, or n contiguous ones.

    Slices differ by one token at most, the first ones being the longer: T need not be divisible. ValueError when there
    are fewer tokens than slices.
    """

    tokens: int
    ranks: int
    zigzag: bool = True

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise ValueError(f"{self.ranks} ranks: a sequence is cut over at least 1")
        if self.tokens < self._slices:
            cut = f"2 × {self.ranks} slices of a zigzag" if self.zigzag else f"{self.ranks} slices"
            raise ValueError(
                f"{self.tokens} tokens cannot be cut into the {cut}, of at least one token each: "
                f"take {self._slices} tokens or more (equal slices with multiples of {self._slices}), or fewer ranks"
            )

    @property
    def _slices(self) -> int:
        return 2 * self.ranks if self.zigzag else self.ranks

    # ------------------------------------------------------------------ tokens
    def slices(self, rank: int) -> tuple[range, ...]:
        """Return the positions of each of the rank's slices, in order."""
        mine = (rank, 2 * self.ranks - 1 - rank) if self.zigzag else (rank,)
        shortest, longer = divmod(self.tokens, self._slices)
        starts = [number * shortest + min(number, longer) for number in range(self._slices + 1)]
        return tuple(range(starts[number], starts[number + 1]) for number in mine)

    def positions(self, rank: int) -> np.ndarray:
        """Return the positions of the rank's tokens in the sequence, int64[t], ascending."""
        return np.concatenate([np.arange(each.start, each.stop) for each in self.slices(rank)])

    def length(self, rank: int) -> int:
        """Return t, how many tokens the rank has."""
        return sum(map(len, self.slices(rank)))

    def order(self) -> np.ndarray:
        """Return the positions of all ranks' tokens, rank by rank, int64[T]."""
        return np.concatenate([self.positions(rank) for rank in range(self.ranks)])

    def own(self, ids: Ids, rank: int) -> Ids:
        """Return the rank's part of ids, labels or a mask, [B, T] -> [B, t]: array or tensor."""
        if ids.shape[-1] != self.tokens:
            raise ValueError(f"the sequence has {ids.shape[-1]} tokens, and it is cut as one of {self.tokens}")
        return ids[..., self.positions(rank)]

    # ------------------------------------------------------------------ blocks
    def block(self, rank: int, source: int, causal: bool = True) -> Block | None:
        """Return what `rank` computes with the keys and values of `source`; None: the mask leaves nothing of them.

        At most one rectangle, for slices of a rank ascend: of an earlier rank both queries see the front keys and none
        the back ones, of a later rank the back queries see both.
        """
        keys = self.length(source)
        if not causal or rank == source:
            return Block(0, keys, causal)
        if source < rank:
            return Block(0, len(self.slices(source)[0]), False)
        return Block(len(self.slices(rank)[0]), keys, False) if self.zigzag else None

    def work(self, rank: int, source: int, causal: bool = True) -> float:
        """Return the query-key pairs of that block, a diagonal one counting half of its square."""
        block = self.block(rank, source, causal)
        return (self.length(rank) - block.first) * block.keys / (2 if block.causal else 1) if block else 0.0

    def imbalance(self, causal: bool = True) -> float:
        """Return the most loaded rank's work / the mean: causal, of equal slices, 1 or, contiguous, (2 n - 1) / n."""
        loads = [sum(self.work(rank, source, causal) for source in range(self.ranks)) for rank in range(self.ranks)]
        return max(loads) * self.ranks / sum(loads)


def next_tokens(ids: Ids) -> Ids:
    """Return the label of each token, the next one, [B, T] -> [B, T]; the last has none and is IGNORED.

    Before the cut: a rank that shifted its own part would give the last token of a slice a label of another slice.
    """
    labels = ids[..., [*range(1, ids.shape[-1]), 0]]
    labels[..., -1] = IGNORED
    return labels


# ---------------------------------------------------------------------- heads
def check_heads(heads: int, kv_heads: int, ranks: int) -> None:
    """ValueError with the numbers that would work, unless each rank gets as many heads, and the keys to them."""
    if not _fits(heads, kv_heads, ranks):
        fitting = [str(n) for n in range(1, heads + 1) if _fits(heads, kv_heads, n)]
        raise ValueError(
            f"{heads} query heads and {kv_heads} key and value heads cannot be shared out over {ranks} ranks: a number "
            f"that divides the query heads, and divides the key heads or is a multiple of them, is {', '.join(fitting)}"
        )


def _fits(heads: int, kv_heads: int, ranks: int) -> bool:
    return heads % ranks == 0 and (kv_heads % ranks == 0 or ranks % kv_heads == 0)


# ---------------------------------------------------------------------- bytes
def ring_bytes(split: SequenceSplit, rank: int, token_bytes: int, gradient_bytes: int | None = None) -> int:
    """Return what a rank sends in forward and backward of one ring attention.

    token_bytes     of one token's key and value, all K heads of the batch: B · 2 K D · element size
    gradient_bytes  of their gradients, as accumulated; as many by default

    Keys and values go n - 1 hops, once in each direction of the computation, gradients n hops, back home.
    """
    n, gradient_bytes = split.ranks, gradient_bytes or token_bytes
    lengths = [split.length((rank - hop) % n) for hop in range(n)]  # of what this rank has in each round
    return 2 * sum(lengths[:-1]) * token_bytes + sum(lengths) * gradient_bytes if n > 1 else 0


def all_to_all_bytes(split: SequenceSplit, rank: int, heads: int, kv_heads: int, head_bytes: int) -> int:
    """Return what a rank sends in forward and backward of one all-to-all attention.

    head_bytes   of one token in one head: B · D · element size

    In each direction its own tokens go out with the heads of query, key and value that others attend in, and the
    others' tokens go back with the output's heads.
    """
    n, t = split.ranks, split.length(rank)
    out = t * (n - 1) * (heads + 2 * max(kv_heads, n)) // n  # each other rank gets its share of the heads
    back = (split.tokens - t) * heads // n
    # The gradients take the same ways backwards.
    back_again = t * (n - 1) * heads // n
    out_again = (split.tokens - t) * (heads + 2 * max(kv_heads, n)) // n
    return (out + back + back_again + out_again) * head_bytes
