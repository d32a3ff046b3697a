"""Examine the reader's data-parallel functions: train a small GPT with them on the ranks, and compare with serial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lab_utils.corpus import Batches
from lab_utils.exercises.framework import on_ranks
from lab_utils.exercises.framework.exercise import Finding
from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import Parity, parity

STEPS = 2  # two, to detect gradients left over from the first
CLOSE = 1e-9  # float64 on a small model
Tensors = Mapping[str, np.ndarray]


# ---------------------------------------------------------------------- step
def examine_step(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Compare two steps of the reader's `step(model, optimizer, x, y)` with serial's, in float64 with plain SGD."""
    results = ranks.run(on_ranks.trained, function, STEPS)
    for number in range(STEPS):
        if finding := _one_step(results, number):
            return finding
    return None


def _one_step(results: Sequence[dict], number: int) -> Finding | None:
    losses = [result["returned"][number] for result in results]
    odd = [rank for rank, loss in enumerate(losses) if not isinstance(loss, float)]
    if odd:
        return Finding((f"{type(losses[odd[0]]).__name__} came back on rank {odd[0]}: return the loss",))
    serial = results[0]["serial"][number]
    found = [{**result["step"][number], "loss": float(np.mean(losses))} for result in results]
    for rank, snapshot in enumerate(found):
        if lost := sorted(serial["gradients"].keys() - snapshot["gradients"].keys()):
            return Finding((f"rank {rank} has no gradient of {lost[0]} after the step: zero them before forward",))
    compared = parity(serial, found)
    if compared.equal:
        return None
    if not number and (same := _same_factor(serial["gradients"], [snapshot["gradients"] for snapshot in found])):
        return Finding(same)
    shard = [result["shard"][0] for result in results]
    return Finding((_why(serial, found, shard, compared, number), compared.verdict))


def _why(serial: dict, found: Sequence[dict], shard: Sequence[Tensors], compared: Parity, number: int) -> str:
    if number:
        return "the first step equals serial and the second does not: what did the first leave behind in the gradients?"
    gradients = [snapshot["gradients"] for snapshot in found]
    if compared.differences[1].max_rel > CLOSE:
        return _why_gradients(serial["gradients"], gradients, shard)
    if compared.differences[2].max_rel > CLOSE:
        return "gradients equal serial and parameters do not: was the update made before the gradients were aggregated?"
    ratio = found[0]["loss"] / serial["loss"]
    return f"gradients and parameters equal serial, the loss is {ratio:.2f} × serial's"


def _same_factor(serial: Tensors, gradients: Sequence[Tensors]) -> tuple[str, str] | None:
    """If every gradient is serial's times one factor, sentences on that factor and its cause; else None.

    No tensor is named as the worst: all are equally wrong, and only rounding would decide.
    """
    n, factors = len(gradients), [_factor(mine, serial) for mine in gradients]
    if None in factors or np.ptp(factors) > CLOSE or abs(factors[0] - 1) < CLOSE:
        return None
    known = {n: ": a sum where a mean belongs", 1 / n: ": divided by the number of ranks once too often"}
    why = next((why for value, why in known.items() if abs(factors[0] - value) < CLOSE), "")
    return f"gradients are {factors[0]:.2f} × serial{why}", f"so are all {len(serial)} of them, on every rank"


def _why_gradients(serial: Tensors, gradients: Sequence[Tensors], shard: Sequence[Tensors]) -> str:
    n = len(gradients)
    unshared = [rank for rank in range(n) if _difference(gradients[rank], shard[rank])[0] < CLOSE]
    if unshared:
        ranks = "every rank" if len(unshared) == n else f"rank {unshared[0]}"
        return f"{ranks} has only the gradients of its own shard: nothing of the other ranks has come in"
    _, name, rank = max((*_difference(mine, serial), rank) for rank, mine in enumerate(gradients))
    factor = _factor({name: gradients[rank][name]}, serial)
    times = "" if factor is None else f": it is {factor:.2f} × serial's"
    return f"the gradient of {name} on rank {rank} differs most from serial{times}"


def _factor(found: Tensors, expected: Tensors) -> float | None:
    """The factor k with found = k × expected in all tensors; None if there is none."""
    a, b = (np.concatenate([np.ravel(tensors[name]) for name in found]) for tensors in (found, expected))
    factor = float(a @ b / (b @ b)) if b.any() else 0.0
    return factor if np.abs(a - factor * b).max() <= CLOSE * np.abs(b).max() else None


def _difference(found: Tensors, expected: Tensors) -> tuple[float, str]:
    """(largest difference relative to its tensor's largest element, name of that tensor)."""
    return max((float(np.abs(found[name] - b).max() / (np.abs(b).max() or 1.0)), name) for name, b in expected.items())


# ---------------------------------------------------------------------- replicate
def examine_replicate(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `replicate(model)` on models from different seeds, and one correct step after it."""
    results = ranks.run(on_ranks.replicated, function)
    unequal = list(_unequal([result["replica"] for result in results]))
    if not unequal:
        return None
    first = results[0]["replica"]
    untouched = all(_difference(result["replica"], result["before"])[0] == 0 for result in results)
    what = "nothing has changed: the replicas keep" if untouched else "the replicas start with"
    rank, name, largest = unequal[0]
    tensors = {name for _, name, _ in unequal}
    compared = parity(results[0]["serial"], [result["step"] for result in results])
    return Finding(
        (
            f"{what} different weights: {name} on rank {rank} is not rank 0's, the largest difference is {largest:.3f}",
            f"{len(tensors)} of {len(first)} tensors differ between ranks; norms and biases start alike in any case",
            f"after one right step: {compared.verdict}",
        )
    )


def _unequal(replicas: Sequence[Tensors]) -> Iterator[tuple[int, str, float]]:
    """Yield (rank, tensor, largest difference) for each tensor that differs from rank 0's."""
    for rank, replica in enumerate(replicas):
        for name, expected in replicas[0].items():
            if not np.array_equal(replica[name], expected):
                yield rank, name, float(np.abs(replica[name] - expected).max())


# ---------------------------------------------------------------------- my_shard
def examine_shard(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_shard(blocks, step)`: the shards must partition the batch."""
    results = ranks.run(on_ranks.sharded, function, STEPS)
    for rank, result in enumerate(results):
        if type_name := result["strange"]:
            return Finding((f"{type_name} came back on rank {rank}: return Blocks, such as blocks[numbers]",))
    for step in range(STEPS):
        wanted = _batch(step)
        if complaint := _shard_complaint([result["numbers"][step] for result in results], wanted, step):
            return Finding((complaint, *_shard_parity(ranks, function, results)))
    return None


def _batch(step: int) -> list[int]:
    return Batches(on_ranks.BLOCKS, on_ranks.BATCH)[step].tolist()


def _shard_complaint(shards: Sequence[list[int]], wanted: list[int], step: int) -> str | None:
    """Describe what is wrong with the ranks' shards of one step, the most specific first; None if nothing."""
    where = f"in step {step}"
    for rank, numbers in enumerate(shards):
        if not numbers or -1 in numbers:
            return f"rank {rank} reads {'rows that are no block' if numbers else 'nothing'} {where}"
    read = [number for numbers in shards for number in numbers]
    missing = len(set(wanted) - set(read))
    nobody = f"{missing} of the batch's {len(wanted)} blocks are read by nobody"
    if all(set(numbers) == set(wanted) for numbers in shards) and len(shards) > 1:
        return f"all {len(shards)} ranks read the whole batch {where}: right gradients, but nothing is shared out"
    if all(set(numbers) == set(shards[0]) for numbers in shards) and len(shards) > 1:
        return f"all {len(shards)} ranks read the same blocks {_listed(shards[0])} {where}, and {nobody}"
    for number in read:
        if read.count(number) > 1:
            who = [rank for rank, numbers in enumerate(shards) if number in numbers]
            return f"block {number} is read {read.count(number)} times {where}, by rank {_listed(who)}; {nobody}"
    if foreign := sorted(set(read) - set(wanted)):
        left_out = f"; {nobody}" if missing else ""
        return f"the ranks read blocks that are not in the batch {where}, such as {foreign[0]}{left_out}"
    if missing:
        return f"{nobody} {where}"
    sizes = [len(numbers) for numbers in shards]
    uneven = f"the shards have {_listed(sizes)} blocks {where}: the mean of their means is not the batch's mean"
    return uneven if len(set(sizes)) > 1 else None


def _shard_parity(ranks: Ranks, function: Callable | str, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the verdict on one correct step with these shards, if no shard is empty."""
    if all(result["numbers"][0] for result in results):
        trained = ranks.run(on_ranks.trained_on_shard, function)
        yield f"after one right step: {parity(trained[0]['serial'], [each['step'] for each in trained]).verdict}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
