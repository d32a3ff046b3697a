"""What runs on the ranks for blocks: the reader's shards, and orders of an epoch. Loaded there only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lab_utils.corpus import Batches, Blocks
from lab_utils.exercises.framework.on_ranks import BATCH, BLOCKS
from lab_utils.exercises.framework.on_ranks_training import one_step, small_gpt, small_text, tensors
from lab_utils.exercises.framework.readers_function import Function, find


def sharded(function: Function, steps: int) -> dict[str, Any]:
    """Return which blocks the reader's `my_shard` assigns to this rank.

    "strange": type name of a result that is not Blocks; "numbers": per step, the numbers of its blocks, -1 for rows
    that are no block.
    """
    blocks = small_text()
    shards = [find(function)(blocks, step) for step in range(steps)]
    strange = [shard for shard in shards if not (hasattr(shard, "x") and hasattr(shard, "y"))]
    if strange:
        return {"strange": type(strange[0]).__name__, "numbers": []}
    return {"strange": None, "numbers": [[_number(blocks, row) for row in shard.x] for shard in shards]}


def _number(blocks: Blocks, row: np.ndarray) -> int:
    """Return the number of the block with this row of tokens; -1 if none."""
    same = np.flatnonzero((blocks.x == np.asarray(row)).all(axis=1))
    return int(same[0]) if len(same) else -1


def trained_on_shard(function: Function) -> dict[str, Any]:
    """Run one correct step on the reader's shard of step 0 ("step"), and serial's on the whole batch ("serial")."""
    blocks = small_text()
    whole, mine = blocks[Batches(BLOCKS, BATCH)[0]], find(function)(blocks, 0)
    return one_step(small_gpt(), small_gpt(), tensors(whole), tensors(mine))


def ordered(function: Function, blocks: int, epochs: int) -> dict[str, Any]:
    """Call the reader's `my_order(blocks, epoch)` on this rank for all epochs, twice.

    "strange": type name of a result that is not a 1-D sequence of integers; "asked": [call][epoch] lists.
    """
    with torch.random.fork_rng(devices=[]):  # leave the reader's random state unchanged
        got = [[find(function)(blocks, epoch) for epoch in range(epochs)] for _ in range(2)]
    asked = [[_numbers(order) for order in orders] for orders in got]
    strange = [type(order).__name__ for order, numbers in zip(got[0], asked[0], strict=True) if numbers is None]
    return {"strange": strange[0] if strange else None, "asked": asked}


def _numbers(order: object) -> list[int] | None:
    if not isinstance(order, np.ndarray | list | tuple | range) and not hasattr(order, "numpy"):
        return None
    array = np.asarray(order)
    return array.tolist() if array.ndim == 1 and (array.dtype.kind in "iu" or not array.size) else None
