"""Judge parameters that must be equal on all ranks: replicas, and ZeRO-1's after its update; and clipped gradients."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from lab_utils.exercises.ch01_data import words
from lab_utils.exercises.ch01_data.judge_gradients import no_loss
from lab_utils.exercises.framework.against_serial import CLOSE, cause, flat, unequal
from lab_utils.exercises.framework.on_ranks import OnRanks
from lab_utils.exercises.framework.readers_function import Function
from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

on_ranks = OnRanks("lab_utils.exercises.ch01_data.on_ranks_parameters")
STEPS = 2  # of ZeRO-1: the second starts from the state that the first left
MAX_NORM, LOOSE = 1.0, 1e-4  # torch adds 1e-6 to the norm before it divides


def judge_replicate(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `replicate(model)` on models from different seeds, and one correct step after it."""
    say, results = words.Replicate, ranks.run(on_ranks.replicated, function)
    differ = unequal([each["replica"] for each in results])
    if not differ:
        return []
    rank, name, largest = differ[0]
    untouched = not any(unequal([each["before"], each["replica"]]) for each in results)
    first = say.worst.format(name=name, rank=rank, largest=largest)
    tensors = {"tensors": len({name for _, name, _ in differ}), "all": len(results[0]["replica"])}
    compared = parity(results[0]["serial"], [each["step"] for each in results])
    return [
        (say.untouched if untouched else say.differ).format(worst=first),
        say.tensors.format(**tensors),
        say.step.format(verdict=compared.verdict),
    ]


def judge_zero(ranks: Ranks, function: Function) -> list[str]:
    """Compare two steps of the reader's ZeRO-1 with serial's: the ranks must agree, and be right."""
    results = ranks.run(on_ranks.zero_steps, function, STEPS)
    for number in range(STEPS):
        if lost := no_loss(results, number):
            return lost
        compared = parity(results[0]["serial"][number], [each["step"][number] for each in results])
        if not compared.equal:
            after = words.Zero.after.format(step=number, verdict=compared.verdict)
            return [*_wrong_parameters(results, number), after]
    return []


def _wrong_parameters(results: Sequence[dict], number: int) -> list[str]:
    """Describe the worst tensor and its cause if ranks differ, otherwise how all of them are wrong."""
    say, n = words.Zero, len(results)
    found = [each["step"][number]["parameters"] for each in results]
    before = flat(results[0]["serial"][number - 1]["parameters"] if number else results[0]["before"])
    serial = flat(results[0]["serial"][number]["parameters"])
    differ = unequal(found)
    if not differ:
        return [_wrong_alike(flat(found[0]), before, serial, number, n)]
    rank, name, largest = max(differ, key=lambda each: each[2])
    tensors = say.tensors.format(tensors=len({name for _, name, _ in differ}), all=len(found[0]))
    own = all(_is_own_piece_only(flat(each), before, serial, at, n) for at, each in enumerate(found))
    return [
        say.unequal.format(step=number, name=name, rank=rank, largest=largest),
        say.own_piece.format(tensors=tensors) if own else tensors,
    ]


def _wrong_alike(found: np.ndarray, before: np.ndarray, serial: np.ndarray, number: int, ranks: int) -> str:
    say, update = words.Zero, serial - before
    if np.abs(found - before).max() < CLOSE:
        return say.unchanged.format(step=number)
    factor = float((found - before) @ update / (update @ update))
    if np.abs(found - before - factor * update).max() < CLOSE:
        why = cause(factor, {ranks: say.sum_over_ranks}, rel_tol=1e-6)  # a factor of two differences
        return say.update.format(step=number, factor=factor, why=why)
    return say.alike.format(step=number)


def _is_own_piece_only(found: np.ndarray, before: np.ndarray, serial: np.ndarray, rank: int, ranks: int) -> bool:
    expected = before.copy()
    np.array_split(expected, ranks)[rank][:] = np.array_split(serial, ranks)[rank]
    return bool(np.abs(found - expected).max() < CLOSE)


def judge_clip(ranks: Ranks, function: Function) -> list[str]:
    """Judge the reader's `clip(pieces, max_norm)`: one scale on all ranks, from the whole gradient's norm."""
    results = ranks.run(on_ranks.clipped, function, MAX_NORM)
    for case in zip(*results, strict=True):
        if wrong := _wrong_clip(case):
            norms = ", ".join(f"{each['given']:g}" for each in case)
            return [wrong, words.Clip.norms.format(norms=norms, max_norm=MAX_NORM)]
    return []


def _wrong_clip(case: Sequence[dict]) -> str:
    """Describe what is wrong with one gradient after clipping, the most specific first; "" if nothing."""
    say, norm = words.Clip, hypot(*(each["given"] for each in case))
    for rank, each in enumerate(case):
        if not each["straight"]:
            return say.bent.format(rank=rank)
    scales = {rank: each["scale"] for rank, each in enumerate(case) if each["scale"] is not None}
    scale = next(iter(scales.values()))
    if max(scales.values()) - min(scales.values()) > LOOSE:
        told = ", ".join(say.on_rank.format(scale=scale, rank=rank) for rank, scale in scales.items())
        return say.unequal.format(scales=told)
    if abs(scale - min(1.0, MAX_NORM / norm)) > LOOSE:
        return say.wrong.format(scale=scale, norm=norm, scaled=scale * norm)
    for rank, each in enumerate(case):
        returned = each["returned"]
        if not isinstance(returned, float):
            return say.no_norm.format(type=type(returned).__name__, rank=rank)
        if abs(returned - norm) > LOOSE * norm:
            return say.wrong_norm.format(rank=rank, norm=returned)
    return ""
