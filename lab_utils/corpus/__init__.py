"""Text as tokens, blocks and shards. Numpy arrays in and out, no torch.

>>> text = clean(load())                                  # 465,126 characters of English
>>> tokens = ByteTokens()
>>> train, held_out = split(tokens.encode(text))
>>> blocks = cut(train, block=64)                         # blocks.x, blocks.y [n, 64]
>>> batches = Batches(len(blocks), batch=16, seed=0)
>>> mine = blocks[batches.part(step=0, rank=1, ranks=4)]  # rank 1's 4 blocks of the first step
>>> Hash().assign(range(len(blocks)), ranks=4)            # or: which rank owns which block
"""

from __future__ import annotations

from .blocks import Batches, Blocks, cut, split
from .shards import Balance, Hash, Random, Range, Rendezvous, Sharding, balance, moved
from .text import CorpusError, clean, load
from .tokens import BPE, ByteTokens

__all__ = [
    "BPE",
    "Balance",
    "Batches",
    "Blocks",
    "ByteTokens",
    "CorpusError",
    "Hash",
    "Random",
    "Range",
    "Rendezvous",
    "Sharding",
    "balance",
    "clean",
    "cut",
    "load",
    "moved",
    "split",
]
