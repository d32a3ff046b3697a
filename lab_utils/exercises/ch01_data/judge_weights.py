"""Examine gradients that the reader accumulated or weighted: equal to serial's, or which mistake gives these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isclose

import numpy as np

from lab_utils.exercises.ch01_data import on_ranks_steps
from lab_utils.exercises.ch01_data.judge_training import CLOSE, Tensors
from lab_utils.exercises.framework.exercise import Finding
from lab_utils.exercises.framework.on_ranks import BATCH
from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import Parity, parity
from lab_utils.timeline import Trace

REDUCTIONS = ("all_reduce", "reduce_scatter", "reduce")


class Gradients:
    """The ranks' gradients after the reader's function, and those of each rank alone.

    found, serial   [rank] tensors by name; serial's are the same on all ranks
    alone           [rank][part] gradients of each part of the rank's shard alone
    """

    def __init__(self, results: Sequence[dict]) -> None:
        self._snapshot = results[0]["serial"][0]
        self.serial: Tensors = self._snapshot["gradients"]
        self.found: list[Tensors] = [result["step"][0]["gradients"] for result in results]
        self.alone: list[list[Tensors]] = [result["returned"][0] for result in results]

    def lost(self) -> Iterator[str]:
        for rank, found in enumerate(self.found):
            if names := [name for name in self.serial if name not in found]:
                yield f"rank {rank} has no gradient of {names[0]}: backward has to leave one in every parameter's .grad"

    def compared(self) -> Parity:
        return parity(self._snapshot, [{**self._snapshot, "gradients": found} for found in self.found])

    def times(self, wanted: Tensors) -> float | None:
        """The factor k if every rank has k × these tensors, else None."""
        factors = [factor_of(found, wanted) for found in self.found]
        return factors[0] if None not in factors and isclose(min(factors), max(factors), rel_tol=CLOSE) else None

    def own(self) -> bool:
        """Whether every rank has a multiple of the sum of its own parts."""
        pairs = zip(self.found, self.alone, strict=True)
        return all(factor_of(found, mean_of(parts)) is not None for found, parts in pairs)

    def of_last(self) -> bool:
        return self.times(mean_of([parts[-1] for parts in self.alone])) is not None

    def others(self, sentence: str) -> Finding:
        first, *more = self.serial
        return Finding((sentence, f"{first}'s is, and so are the {len(more)} others, on every rank"))

    def elsewhere(self) -> Finding:
        worst = self.compared().differences[1]
        return Finding((f"gradients differ from serial by {worst.max_rel:.2g} relative, most of all {worst.where}",))


# ---------------------------------------------------------------------- my_accumulate
def examine_accumulate(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_accumulate(model, parts)`: the batch's gradients, reduced only once."""
    parts = 4 if ranks.size == 2 else 2  # differs from the number of ranks, to tell the two mistakes apart
    trace = ranks.record(on_ranks_steps.accumulated, function, parts, count=False)
    gradients = Gradients(trace.results)
    if lost := next(gradients.lost(), None):
        return Finding((lost,))
    if not gradients.compared().equal:
        return _accumulated_wrongly(gradients, ranks.size, parts)
    rounds = _rounds(trace, gradients.serial)
    if rounds > 1:
        return Finding((f"the gradients are right, and went over the wire {rounds} times: once is enough for a step",))
    return None


def _accumulated_wrongly(gradients: Gradients, ranks: int, parts: int) -> Finding:
    if factor := gradients.times(gradients.serial):
        known = {
            parts: f": they add up over {parts} micro-batches, and nothing divides by that number",
            ranks: f": a sum over {ranks} ranks where a mean belongs",
            ranks * parts: f": a sum over {parts} micro-batches of each of {ranks} ranks, and nothing divides it",
            1 / parts: ": divided by the number of micro-batches once too often",
            1 / ranks: ": divided by the number of ranks once too often",
        }
        why = next((why for value, why in known.items() if isclose(value, factor, rel_tol=CLOSE)), "")
        return gradients.others(f"gradients are {factor:.2f} × serial{why}")
    if gradients.of_last():
        return gradients.others("gradients are those of the last micro-batch alone: the earlier ones are lost")
    if gradients.own():
        return Finding(("every rank has only the gradients of its own micro-batches: nothing of others has come in",))
    return gradients.elsewhere()


def _rounds(trace: Trace, gradients: Tensors) -> int:
    """Number of times that rank 0's gradients were reduced, from their bytes."""
    sent = sum(op.bytes for op in trace.ops[0] if op.kind == "collective" and op.name in REDUCTIONS)
    return round(sent / sum(gradient.nbytes for gradient in gradients.values()))


# ---------------------------------------------------------------------- my_gradients
def examine_gradients(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_gradients(model, x, y)` on shards of different sizes: the batch's gradients."""
    sizes = sizes_of(ranks.size)
    gradients = Gradients(ranks.run(on_ranks_steps.from_uneven_shards, function, sizes))
    if lost := next(gradients.lost(), None):
        return Finding((lost,))
    return None if gradients.compared().equal else _weighed_wrongly(gradients, sizes)


def _weighed_wrongly(gradients: Gradients, sizes: Sequence[int]) -> Finding:
    last = len(sizes) - 1
    of_means = gradients.times(mean_of([parts[0] for parts in gradients.alone]))
    if of_means is not None:
        what = "the mean" if isclose(of_means, 1, rel_tol=CLOSE) else f"{of_means:.2f} × the mean"
        unfair = f"rank 0 has {sizes[0]} of {BATCH} blocks and rank {last} has {sizes[last]}, and they weigh the same"
        return gradients.others(f"gradients are {what} of the shards' means: {unfair}")
    if factor := gradients.times(gradients.serial):
        return gradients.others(
            f"gradients are {factor:.2f} × serial: a block weighs {factor:.2f}/{BATCH} in them, and 1/{BATCH} in serial"
        )
    if gradients.own():
        return Finding(("every rank has only the gradients of its own shard: nothing of the others has come in",))
    return gradients.elsewhere()


def sizes_of(ranks: int) -> list[int]:
    """Number of blocks in each rank's uneven shard: 1, 3, 5 and 7 of 16 on four ranks."""
    ends = [max(rank, round(BATCH * (rank / ranks) ** 2)) for rank in range(ranks + 1)]
    return np.diff(ends).tolist()


def factor_of(found: Tensors, wanted: Tensors) -> float | None:
    """The factor k with found = k × wanted, relative to the largest element of wanted; None if there is none."""
    name = max(wanted, key=lambda name: np.abs(wanted[name]).max())
    at = np.abs(wanted[name]).argmax()
    factor, largest = found[name].flat[at] / wanted[name].flat[at], np.abs(wanted[name]).max()
    same = all(np.abs(found[name] - factor * b).max() <= CLOSE * abs(factor) * largest for name, b in wanted.items())
    return float(factor) if same and factor else None


def mean_of(several: Sequence[Tensors]) -> Tensors:
    return {name: np.mean([tensors[name] for tensors in several], axis=0) for name in several[0]}
