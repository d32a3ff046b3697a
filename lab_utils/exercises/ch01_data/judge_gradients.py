"""Judge gradients that the reader aggregated, accumulated or weighted: serial's, or which mistake gives these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isclose
from typing import Any

import numpy as np

from lab_utils.exercises.ch01_data import words
from lab_utils.exercises.framework.against_serial import CLOSE, cause, common_factor, factor_of, mean_of, worst
from lab_utils.exercises.framework.on_ranks import BATCH, BLOCK, OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import Parity, parity
from lab_utils.timeline import Trace

on_ranks = OnRanks("lab_utils.exercises.ch01_data.on_ranks_gradients")
RANKS = 4  # in the explanation of 01.9
STEPS = 2  # two, to detect gradients left over from the first
REDUCTIONS = ("all_reduce", "reduce_scatter", "reduce")


def judge_step(ranks: Ranks, function: Function) -> list[str]:
    """Compare two steps of the reader's `step(model, optimizer, x, y)` with serial's, in float64 with plain SGD."""
    results = ranks.run(on_ranks.trained, function, STEPS)
    return next((wrong for number in range(STEPS) if (wrong := _wrong_step(results, number))), [])


def _wrong_step(results: Sequence[dict], number: int) -> list[str]:
    say = words.Step
    if lost := no_loss(results, number):
        return lost
    serial, losses = results[0]["serial"][number], [each["returned"][number] for each in results]
    found = [{**each["step"][number], "loss": float(np.mean(losses))} for each in results]
    for rank, snapshot in enumerate(found):
        if names := sorted(serial["gradients"].keys() - snapshot["gradients"].keys()):
            return [say.zeroed.format(rank=rank, name=names[0])]
    compared = parity(serial, found)
    if compared.equal:
        return []
    gradients, wanted, n = [each["gradients"] for each in found], serial["gradients"], len(found)
    factor = None if number else common_factor(gradients, wanted)
    if factor is not None and not isclose(factor, 1, rel_tol=CLOSE):  # no tensor is the worst: all are equally wrong
        why = cause(factor, {n: say.sum_over_ranks, 1 / n: say.ranks_twice})
        return [say.serial_times.format(factor=factor, why=why), say.all_of_them.format(tensors=len(wanted))]
    if number:
        why = say.left_over
    elif compared.differences[1].max_rel > CLOSE:
        why = _wrong_gradients(wanted, gradients, [each["shard"] for each in results])
    elif compared.differences[2].max_rel > CLOSE:
        why = say.early
    else:
        why = say.loss.format(ratio=found[0]["loss"] / serial["loss"])
    return [why, compared.verdict]


def no_loss(results: Sequence[dict], number: int) -> list[str]:
    """Name the first rank whose step returned no number."""
    returned = [each["returned"][number] for each in results]
    odd = [rank for rank, loss in enumerate(returned) if not isinstance(loss, float)]
    return [words.Step.no_loss.format(type=type(returned[rank]).__name__, rank=rank) for rank in odd[:1]]


def _wrong_gradients(serial: dict, gradients: Sequence[dict], shards: Sequence[dict]) -> str:
    say = words.Step
    unshared = [rank for rank, own in enumerate(shards) if worst(gradients[rank], own)[0] < CLOSE]
    if unshared:
        return say.own_shards if len(unshared) == len(shards) else say.own_shard.format(rank=unshared[0])
    _, name, rank = max((*worst(mine, serial), rank) for rank, mine in enumerate(gradients))
    factor = factor_of({name: gradients[rank][name]}, {name: serial[name]})
    template = say.worst if factor is None else say.worst_times
    return template.format(name=name, rank=rank, factor=factor)


def judge_accumulate(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_accumulate(model, parts)`: the batch's gradients, reduced only once."""
    say, n = words.Accumulate, ranks.size
    parts = 4 if n == 2 else 2  # differs from the number of ranks, to tell the two mistakes apart
    trace = ranks.record(on_ranks.accumulated, function, parts, count=False)
    gradients = Gradients(trace.results)
    if lost := gradients.lost():
        return lost
    if gradients.compared().equal:
        times = _times_reduced(trace, gradients)
        return [say.wire.format(times=times)] if times > 1 else []
    known = {
        parts: say.sum_over_parts,
        n: say.sum_over_n,
        n * parts: say.sum_over_both,
        1 / parts: say.parts_twice,
        1 / n: say.ranks_twice,
    }

    def of_serial(factor: float) -> str:
        return say.serial_times.format(factor=factor, why=cause(factor, known).format(parts=parts, n=n))

    of_last = mean_of([alone[-1] for alone in gradients.alone])
    return gradients.wrong(say, (gradients.serial, of_serial), (of_last, lambda factor: say.of_last))


def judge_gradients(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_gradients(model, x, y)` on shards of different sizes: the batch's gradients."""
    say, sizes = words.Gradients, sizes_of(ranks.size)
    gradients = Gradients(ranks.run(on_ranks.from_uneven_shards, function, sizes))
    if lost := gradients.lost():
        return lost
    if gradients.compared().equal:
        return []

    def of_means(factor: float) -> str:
        what = say.mean if isclose(factor, 1, rel_tol=CLOSE) else say.mean_times.format(factor=factor)
        return say.of_means.format(what=what, first=sizes[0], last=sizes[-1], last_rank=len(sizes) - 1, batch=BATCH)

    def of_serial(factor: float) -> str:
        return say.weighs.format(factor=factor, batch=BATCH)

    means = mean_of([alone[0] for alone in gradients.alone])
    return gradients.wrong(say, (means, of_means), (gradients.serial, of_serial))


class Gradients:
    """The ranks' gradients after the reader's function, and those of each rank alone.

    found, serial   [rank] tensors by name; serial's are the same on all ranks
    alone           [rank][part] gradients of each part of the rank's shard alone
    """

    def __init__(self, results: Sequence[dict]) -> None:
        self._snapshot = results[0]["serial"][0]
        self.serial = self._snapshot["gradients"]
        self.found = [each["step"][0]["gradients"] for each in results]
        self.alone = [each["returned"][0] for each in results]

    def lost(self) -> list[str]:
        missing = [(rank, name) for rank, found in enumerate(self.found) for name in self.serial if name not in found]
        return [words.Factors.lost.format(rank=rank, name=name) for rank, name in missing[:1]]

    def compared(self) -> Parity:
        return parity(self._snapshot, [{**self._snapshot, "gradients": found} for found in self.found])

    def wrong(self, say: type, *known: tuple[dict, Callable[[float], str]]) -> list[str]:
        """Say of which known tensors every rank's gradients are a multiple, else where they differ from serial's."""
        for wanted, said in known:
            if factor := common_factor(self.found, wanted):
                first, *others = self.serial
                return [said(factor), say.and_others.format(name=first, others=len(others))]
        if all(factor_of(found, mean_of(alone)) for found, alone in zip(self.found, self.alone, strict=True)):
            return [say.own]
        worst = self.compared().differences[1]
        return [say.elsewhere.format(difference=worst.max_rel, where=worst.where)]


def _times_reduced(trace: Trace, gradients: Gradients) -> int:
    """Return how often rank 0's gradients were reduced, from their bytes."""
    sent = sum(op.bytes for op in trace.ops[0] if op.kind == "collective" and op.name in REDUCTIONS)
    return round(sent / sum(gradient.nbytes for gradient in gradients.serial.values()))


def sizes_of(ranks: int) -> list[int]:
    """Return the number of blocks in each rank's uneven shard: 1, 3, 5 and 7 of 16 on four ranks."""
    ends = [max(rank, round(BATCH * (rank / ranks) ** 2)) for rank in range(ranks + 1)]
    return np.diff(ends).tolist()


def weights() -> dict[str, Any]:
    """Return what the losses of 01.9 weigh, for its explanation."""
    sizes = sizes_of(RANKS)
    weight = words.Gradients.weight
    return {"weights": ", ".join(weight.format(n=RANKS, size=size, batch=sum(sizes)) for size in sizes)}


def judge_token_gradients(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `my_token_gradients(model, x, y)` on padded texts, then with padding only on the last rank."""
    say, n = words.TokenGradients, ranks.size
    lengths = [max(1, BLOCK - 2 * rank) for rank in range(n)]
    if wrong := _wrong_tokens(ranks, function, lengths):
        return wrong
    gradients = Gradients(ranks.run(on_ranks.from_padded_texts, function, sizes_of(n), [*lengths[:-1], 0]))
    if lost := gradients.lost():
        return [*lost, say.when_empty.format(empty=n - 1)]
    worst = gradients.compared().differences[1]
    said = say.elsewhere.format(difference=worst.max_rel, where=worst.where)
    return [] if gradients.compared().equal else [said, say.when_empty.format(empty=n - 1)]


def _wrong_tokens(ranks: Ranks, function: Function, lengths: Sequence[int]) -> list[str]:
    """Describe what is wrong with the gradients where every rank has lengths[rank] tokens per block."""
    say, n, sizes = words.TokenGradients, ranks.size, sizes_of(ranks.size)
    gradients = Gradients(ranks.run(on_ranks.from_padded_texts, function, sizes, lengths))
    if lost := gradients.lost():
        return lost
    if gradients.compared().equal:
        return []
    tokens = [size * length for size, length in zip(sizes, lengths, strict=True)]
    positions, all_tokens = BATCH * BLOCK, sum(tokens)
    known = {1 / n: say.without_n, n: words.Step.sum_over_ranks, all_tokens / positions: say.with_padding}
    counted = {"positions": positions, "padding": positions - all_tokens, "n": n}

    def of_serial(factor: float) -> str:
        return say.serial_times.format(factor=factor, why=cause(factor, known).format(**counted))

    def of_means(factor: float) -> str:
        sides = {"first": tokens[0], "last": tokens[-1], "last_rank": n - 1}
        return say.of_means.format(factor=factor, tokens=all_tokens, **sides)

    def of_blocks(factor: float) -> str:
        return say.by_blocks.format(factor=factor)

    alone = [parts[0] for parts in gradients.alone]
    by_blocks = {name: np.average([own[name] for own in alone], axis=0, weights=sizes) for name in gradients.serial}
    return gradients.wrong(say, (mean_of(alone), of_means), (by_blocks, of_blocks), (gradients.serial, of_serial))
