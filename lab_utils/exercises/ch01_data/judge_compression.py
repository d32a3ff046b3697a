"""Judge the reader's compression with error feedback: nothing is lost, and the largest entries go first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lab_utils.exercises.ch01_data.words import Compress as say
from lab_utils.exercises.framework.against_serial import CLOSE
from lab_utils.exercises.framework.on_ranks import OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks

on_ranks = OnRanks("lab_utils.exercises.ch01_data.on_ranks_gradients")
PART = 10  # 1 / PART of the entries are sent
STEPS = 4  # from the second on, `kept` is not 0
Step = Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, int]]  # name → gradient, sent, kept, k


def judge_compress(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `compress(gradient, kept, k)` over STEPS steps."""
    results = ranks.run(on_ranks.compressed, function, STEPS, PART)
    for rank, each in enumerate(results):
        if each["strange"]:
            name, said = each["strange"]
            return [say.strange.format(said=said, name=name, rank=rank)]
    for number in range(STEPS):
        if wrong := list(_wrong_tensors(results, number)):
            tensors = say.tensors.format(
                tensors=len(wrong), all=len(results) * len(results[0]["steps"][0]), step=number
            )
            return [wrong[0], tensors, *_invariant(results, number)]
    return []


def _wrong_tensors(results: Sequence[dict], number: int) -> Iterator[str]:
    """Yield one sentence per rank and tensor that is wrong in this step."""
    for rank, each in enumerate(results):
        steps: list[Step] = each["steps"]
        for name, (gradient, sent, kept, k) in steps[number].items():
            before = steps[number - 1][name][2] if number else np.zeros_like(gradient)
            if why := _why(gradient, before, sent, kept, k):
                yield say.wrong.format(name=name, rank=rank, step=number, why=why)


def _why(gradient: np.ndarray, before: np.ndarray, sent: np.ndarray, kept: np.ndarray, k: int) -> str:
    """Describe what is wrong with one call, "" if nothing; `before` is the previous `kept`."""
    lost, left = gradient + before - sent - kept, gradient + before - sent

    def is_lost(what: np.ndarray) -> bool:
        return bool(np.abs(lost - what).max() <= CLOSE * np.abs(gradient).max())

    if not is_lost(0 * lost):
        known = (
            (before, say.forgotten),
            (-before, say.twice),
            (left, say.dropped),
            (-sent, say.kept_as_well),
            (2 * left, say.sign),
        )
        return next((why for what, why in known if is_lost(what)), say.unequal)
    many = np.count_nonzero(sent)
    if many > k:
        return say.too_many.format(many=many, k=k)
    if many < min(k, np.count_nonzero(gradient + before)):
        return say.too_few.format(many=many, k=k)
    if np.abs(kept).max() > np.abs(sent[sent != 0]).min(initial=np.inf) * (1 + CLOSE):
        return say.smaller
    return ""


def _invariant(results: Sequence[dict], number: int) -> Iterator[str]:
    """Yield how far everything sent plus kept is from the sum of all gradients; nothing if they are equal."""
    there_was = found = 0.0
    for each in results:
        for name, (_, _, kept, _) in each["steps"][number].items():
            gradients, sent = (sum(step[name][at] for step in each["steps"][: number + 1]) for at in (0, 1))
            there_was += np.square(gradients).sum()
            found += np.square(gradients - sent - kept).sum()
    if found > CLOSE * there_was:
        yield say.invariant.format(part=np.sqrt(found / there_was))
