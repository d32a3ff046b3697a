"""Chapter 01, memory: bytes under ZeRO's stages, ZeRO-1 by hand, and clipping by the global norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import hypot, isclose

import numpy as np

from lab_utils.exercises.ch01_data import on_ranks_memory
from lab_utils.exercises.framework.code import on_the_ranks
from lab_utils.exercises.framework.exercise import Exercise, Finding
from lab_utils.exercises.framework.numeric import Quantity, numeric
from lab_utils.ranks import Ranks
from lab_utils.strategies.parity import parity

RANKS = 4
PARAMETER, GRADIENT, STATE = 8, 8, 16  # bytes per parameter in float64; AdamW keeps two moments
STEPS = 2  # the second starts from the state that the first left
CLOSE = 1e-9  # float64 on a small model
LOOSE = 1e-4  # torch adds 1e-6 to the norm before it divides
Tensors = Mapping[str, np.ndarray]


# ---------------------------------------------------------------------- 01.10: bytes
def stage_bytes(parameters: int, ranks: int = RANKS) -> tuple[float, float, float]:
    """Bytes per rank of parameters, gradients and AdamW's state under ZeRO-1, 2 and 3, in float64.

    Rajbhandari et al. 2020, "ZeRO" (SC 20), section 5 and figure 1, with 8 + 8 + 16 bytes for their 2 + 2 + 12.
    """
    kept = ((PARAMETER + GRADIENT, STATE), (PARAMETER, GRADIENT + STATE), (0, PARAMETER + GRADIENT + STATE))
    return tuple(parameters * (whole + sharded / ranks) for whole, sharded in kept)


def _quantities(parameters: int) -> list[Quantity]:
    plain, half = parameters * (PARAMETER + GRADIENT + STATE), (2, 2, 12)
    in_half = [
        (parameters * (half[0] + half[1] + half[2] / RANKS)),
        parameters * (2 + 14 / RANKS),
        parameters * 16 / RANKS,
    ]
    found = []
    for stage, right in enumerate(stage_bytes(parameters)):
        mistakes = (
            (plain, "that is without sharding anything"),
            (right / 2, "that is half: a float64 has 8 bytes, and AdamW keeps two of them for each parameter"),
            (in_half[stage], "that is the paper's 2 + 2 + 12 bytes a parameter; here all is float64"),
            (right * RANKS, "that is what all ranks hold together"),
            (plain / RANKS, "that is all three in pieces, which is one stage only"),
            (parameters * (PARAMETER + GRADIENT), "the optimizer's state is in pieces, not gone"),
            (parameters * PARAMETER, "what is in pieces is not gone"),
        )
        others = tuple((value, why) for value, why in mistakes if not isclose(value, right, rel_tol=1e-3))
        found.append(Quantity(f"bytes under ZeRO-{stage + 1}", right, others, relative=1e-6))
    return found


def _explain_bytes(parameters: int) -> str:
    one, two, three = stage_bytes(parameters)
    return (
        f"(8 + 8 + 16 / n) P = {one:,.0f};  (8 + (8 + 16) / n) P = {two:,.0f};  (8 + 8 + 16) / n · P = {three:,.0f}\n"
        f"with n = {RANKS} and P = {parameters:,}; without sharding {32 * parameters:,}. With more ranks the first two "
        "come down to half and to a quarter of that, and no further; only the third goes on falling."
    )


# ---------------------------------------------------------------------- 01.11: ZeRO-1 by hand
def examine_zero(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Compare two steps of the reader's ZeRO-1 with serial's: the ranks must agree, and be right."""
    results = ranks.run(on_ranks_memory.zero_steps, function, STEPS)
    for number in range(STEPS):
        odd = [rank for rank, each in enumerate(results) if not isinstance(each["returned"][number], float)]
        if odd:
            name = type(results[odd[0]]["returned"][number]).__name__
            return Finding((f"{name} came back on rank {odd[0]}: return the loss",))
        compared = parity(results[0]["serial"][number], [each["step"][number] for each in results])
        if not compared.equal:
            return Finding((*_zero_complaints(results, number), f"after step {number}: {compared.verdict}"))
    return None


def _zero_complaints(results: Sequence[dict], number: int) -> Iterator[str]:
    """Describe the worst tensor and its cause if ranks differ, otherwise how all of them are wrong."""
    found = [each["step"][number]["parameters"] for each in results]
    before = results[0]["serial"][number - 1]["parameters"] if number else results[0]["before"]
    serial = results[0]["serial"][number]["parameters"]
    rank, name, largest = _worst(found)
    if not largest:
        yield _wrong_alike(_flat(found[0]), _flat(before), _flat(serial), number, len(found))
        return
    yield (
        f"after step {number} the ranks have unequal parameters: {name} on rank {rank} differs most from rank 0's, "
        f"by {largest:.4f}"
    )
    tensors = sum(any(not np.array_equal(each[key], found[0][key]) for each in found) for key in found[0])
    own = all(
        _is_own_piece_only(_flat(each), _flat(before), _flat(serial), at, len(found)) for at, each in enumerate(found)
    )
    yield f"{tensors} of {len(found[0])} tensors differ between ranks" + (
        "; on each rank its own piece is serial's, and the rest is as it was before the step" if own else ""
    )


def _wrong_alike(found: np.ndarray, before: np.ndarray, serial: np.ndarray, number: int, ranks: int) -> str:
    if np.array_equal(found, before) or np.abs(found - before).max() < CLOSE:
        return f"after step {number} all ranks have the parameters of before it: the update is not in them yet"
    update = serial - before
    factor = float((found - before) @ update / (update @ update))
    if np.abs(found - before - factor * update).max() < CLOSE:
        why = ": a sum where a mean belongs" if isclose(factor, ranks, rel_tol=1e-6) else ""
        return f"all ranks have equal parameters, and step {number}'s update is {factor:.2f} × serial's{why}"
    return f"after step {number} all ranks have equal parameters, and they are not serial's"


def _is_own_piece_only(found: np.ndarray, before: np.ndarray, serial: np.ndarray, rank: int, ranks: int) -> bool:
    expected = before.copy()
    np.array_split(expected, ranks)[rank][:] = np.array_split(serial, ranks)[rank]
    return bool(np.abs(found - expected).max() < CLOSE)


def _flat(tensors: Tensors) -> np.ndarray:
    return np.concatenate([np.ravel(tensor) for tensor in tensors.values()])


def _worst(found: Sequence[Tensors]) -> tuple[int, str, float]:
    """(rank, tensor, largest difference from rank 0's); 0.0 if none differs."""
    differences = (
        (rank, name, float(np.abs(each[name] - first).max()))
        for rank, each in enumerate(found)
        for name, first in found[0].items()
    )
    return max(differences, key=lambda worst: worst[2])


def _explain_zero() -> str:
    return (
        "loss and every parameter equal serial, over two steps in float64, and a rank's optimizer has a quarter\n"
        "A reduce-scatter and an all-gather move as many bytes as the all-reduce that they replace: the memory is "
        "saved for nothing but an order that has to be kept: reduce, update, gather."
    )


# ---------------------------------------------------------------------- 01.12: clipping
def examine_clip(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `clip(pieces, max_norm)`: one scale on all ranks, from the whole gradient's norm."""
    results = ranks.run(on_ranks_memory.clipped, function)
    for case in zip(*results, strict=True):
        if complaint := _clip_complaint(case):
            return Finding((complaint, _norms_line(case)))
    return None


def _clip_complaint(case: Sequence[dict]) -> str | None:
    """Describe what is wrong with one gradient after clipping, the most specific first; None if nothing."""
    norm, scales = hypot(*(each["given"] for each in case)), {r: each["scale"] for r, each in enumerate(case)}
    for rank, each in enumerate(case):
        if not each["straight"]:
            return f"the gradient on rank {rank} points elsewhere than before: scale it, and nothing else"
    known = {rank: scale for rank, scale in scales.items() if scale is not None}
    right = min(1.0, on_ranks_memory.MAX_NORM / norm)
    if max(known.values()) - min(known.values()) > LOOSE:
        told = ", ".join(f"{scale:.3f} on rank {rank}" for rank, scale in known.items())
        return f"the pieces are scaled by {told}: they are no longer pieces of one gradient"
    if abs((scale := next(iter(known.values()))) - right) > LOOSE:
        return f"every rank scales by {scale:.3f}: a gradient of norm {norm:.3f} would come to {scale * norm:.3f}"
    return _returned_complaint(case, norm)


def _returned_complaint(case: Sequence[dict], norm: float) -> str | None:
    for rank, each in enumerate(case):
        returned = each["returned"]
        if not isinstance(returned, float):
            return f"the gradients are right, and {type(returned).__name__} came back on rank {rank}: return the norm"
        if abs(returned - norm) > LOOSE * norm:
            return f"the gradients are right; the norm that came back on rank {rank} is {returned:.3f}, not that of all"
    return None


def _norms_line(case: Sequence[dict]) -> str:
    norms = ", ".join(f"{each['given']:g}" for each in case)
    return f"norms of the ranks' pieces: {norms}; max_norm is {on_ranks_memory.MAX_NORM:g}"


def _explain_clip() -> str:
    return (
        "one scale on every rank, and it is that of the whole gradient: its norm is √(the sum of the pieces' squares)\n"
        "Squares add up over pieces, norms do not. One all-reduce of one number is the price."
    )


EXERCISES = (
    Exercise(
        "01.10",
        f"P parameters in float64, AdamW, {RANKS} ranks: how many bytes of them, of their gradients and of the "
        "optimizer's state does a rank hold under ZeRO-1, ZeRO-2 and ZeRO-3?",
        "Replace the three … by numbers, ZeRO-1 first; formulas with P in them will do.",
        (
            "without sharding there are 8 + 8 + 16 bytes a parameter: which is which?",
            "which of the three has n pieces?",
        ),
        numeric(_quantities),
        _explain_bytes,
        given=("parameters",),
    ),
    Exercise(
        "01.11",
        "Each rank updates its quarter of the parameters. What is missing before the next forward?",
        "Mend the function, run its cell again, then this one.",
        (
            "after the step, who knows the new values of whose piece?",
            "which collective leaves all pieces on all ranks?",
        ),
        on_the_ranks(examine_zero),
        _explain_zero,
    ),
    Exercise(
        "01.12",
        "Each rank clips its pieces of one gradient. By which norm?",
        "Mend the function, run its cell again, then this one; it returns the norm before clipping.",
        ("what would torch's clip_grad_norm_ see on a rank that has the whole gradient?", "what adds up over pieces?"),
        on_the_ranks(examine_clip),
        _explain_clip,
    ),
)
