"""Examine the reader's pipeline code: compare each stage's gradients with serial's, and recognise mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf, isclose, isfinite

import numpy as np

from lab_utils.exercises.ch01_data.judge_training import CLOSE, Tensors
from lab_utils.exercises.ch01_data.judge_weights import factor_of, mean_of
from lab_utils.exercises.ch03_pipeline import on_ranks
from lab_utils.exercises.ch03_pipeline.on_ranks import MICROBATCHES, SAMPLES
from lab_utils.exercises.framework.exercise import Finding
from lab_utils.exercises.framework.on_ranks import LEARNING_RATE
from lab_utils.ranks import Ranks

Results = Sequence[dict]


# ---------------------------------------------------------------------- my_step
def examine_step(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_step(stage, parts, like)`: every stage's gradients must equal serial's."""
    results = ranks.run(on_ranks.stepped, function)
    if lost := next(_lost(results), None):
        return Finding((lost,))
    if not _off(results):
        return None
    factors = [factor_of(each["found"], each["serial"]) for each in results]
    if None not in factors:
        return _by_factors(factors, results)
    for number in range(MICROBATCHES):
        if None not in [factor_of(each["found"], each["alone"][number]) for each in results]:
            return Finding((f"gradients on every rank are those of micro-batch {number} alone",))
        if None not in [factor_of(each["found"], _without(each["alone"], number)) for each in results]:
            return Finding((f"what micro-batch {number} adds to the gradients is missing, on every rank",))
    return Finding(tuple(_told(results)))


def _without(alone: Sequence[Tensors], number: int) -> Tensors:
    return mean_of([*alone[:number], *alone[number + 1 :]])


def _by_factors(factors: Sequence[float], results: Results) -> Finding:
    known = {
        MICROBATCHES: f": they add up over {MICROBATCHES} micro-batches, and nothing divides by that number",
        1 / MICROBATCHES: ": divided by the number of micro-batches once too often",
        MICROBATCHES / SAMPLES: ": divided by the samples of a micro-batch, and each loss is a mean over these already",
        MICROBATCHES / len(results): ": divided by the number of ranks, and not by that of micro-batches",
        1 / MICROBATCHES**2: ": divided by the number of micro-batches twice too often",
    }
    first = factors[-1]
    why = next((why for value, why in known.items() if isclose(value, first, rel_tol=CLOSE)), "")
    if all(isclose(factor, first, rel_tol=CLOSE) for factor in factors):
        name, *more = (name for each in results for name in each["serial"])
        said = f"{name} on rank 0 is, and so are the {len(more)} others, on every rank"
        return Finding((f"gradients are {first:.2f} × serial{why}", said))
    told = ", ".join(f"{factor:.3g} on rank {rank}" for rank, factor in enumerate(factors))
    steps = [earlier / later for earlier, later in zip(factors, factors[1:], strict=False)]
    if all(isclose(step, steps[0], rel_tol=CLOSE) for step in steps):
        said = f"from each rank to the one before they become {steps[0]:.3g} × as large: what is sent back?"
    else:
        said = "a whole stage is off by one factor, so the mistake is in what it gets or how it begins"
    return Finding((f"gradients are serial's times a factor: {told}", said))


def _lost(results: Results) -> Iterator[str]:
    for rank, each in enumerate(results):
        if names := [name for name in each["serial"] if name not in each["found"]]:
            lost = f"rank {rank} has no gradient of {names[0]}"
            yield f"{lost} and {len(names) - 1} more of its {len(each['serial'])}: no backward has come there"


def _off(results: Results) -> list[tuple[int, str, float]]:
    """(rank, its worst tensor, relative difference) of the ranks whose gradients differ from serial's."""
    found = []
    for rank, each in enumerate(results):
        largest, name = max((_difference(each["found"][name], wanted), name) for name, wanted in each["serial"].items())
        if largest > CLOSE:
            found.append((rank, name, largest))
    return found


def _told(results: Results) -> Iterator[str]:
    """Yield sentences on the worst tensor and on which ranks are right: gradients flow from the last rank."""
    off = _off(results)
    rank, name, largest = off[-1]
    how = f"differs most, by {largest:.2g} relative" if isfinite(largest) else "has values that are no numbers"
    yield f"gradients on rank {rank} are not serial's: {name} {how}"
    right = [r for r in range(len(results)) if r not in {each[0] for each in off}]
    if right:
        behind = "behind it are" if right[0] > rank else "others are"
        yield f"{behind} right: {_ranks(right)}; gradients come from the last rank, so look between the two"
    else:
        yield "none is right on any rank; gradients come from the last rank, so the mistake begins there"


# ---------------------------------------------------------------------- my_run
def examine_slots(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_run(order, forward, backward)`: each backward with its own forward's activations."""
    results = ranks.run(on_ranks.slotted, function)
    for rank, each in enumerate(results):
        if complaint := _other_order(each["ran"], each["order"]):
            return Finding((f"rank {rank} {complaint}",))
        if strange := [(number, used) for number, used in each["used"] if isinstance(used, str)]:
            number, name = strange[0]
            given = f"on rank {rank} backward({number}, ...) was given {name}, and not what a forward returned"
            return Finding((given,))
    mixed = {r: [pair for pair in each["used"] if pair[0] != pair[1]] for r, each in enumerate(results)}
    if wrong := [rank for rank, pairs in mixed.items() if pairs]:
        rank = wrong[0]
        number, other = mixed[rank][0]
        said = f"on rank {rank} the backward of micro-batch {number} runs on the activations of micro-batch {other}"
        counted = ", ".join(f"rank {r}: {len(pairs)} of {MICROBATCHES}" for r, pairs in mixed.items())
        return Finding((said, f"backwards on others' activations: {counted}", *_told(results)))
    for rank, each in enumerate(results):
        needed = min(len(results) - rank, MICROBATCHES)
        if each["held"] > needed:
            more = f"the gradients are right, and rank {rank} keeps {each['held']} micro-batches' activations at once"
            return Finding((f"{more}: its order never has so many under way",))
    return Finding(tuple(_told(results))) if _off(results) else None


def _other_order(ran: Sequence[tuple], order: Sequence[tuple]) -> str:
    for at, (mine, wanted) in enumerate(zip(ran, order, strict=False)):
        if mine != wanted:
            return f"runs {_word(mine)} as op {at + 1}, and the order has {_word(wanted)} there"
    return f"runs {len(ran)} ops, and the order has {len(order)}" if len(ran) != len(order) else ""


def _word(op: tuple[str, int]) -> str:
    return f"{op[0]}{op[1]}"


# ---------------------------------------------------------------------- my_backward
def examine_weights(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_backward(layer, inputs, arrive, leave)`: B's gradients, last rank first, then W's."""
    results = ranks.run(on_ranks.weighted, function)
    for rank, each in reversed(list(enumerate(results))):  # an error on a later rank propagates to all earlier ones
        if complaint := _left_wrongly(each):
            return Finding((f"rank {rank} {complaint}",))
    off = {rank: said for rank, each in enumerate(results) if (said := _weight_wrongly(each))}
    if not off:
        return None
    rank = min(off)
    others = "on no other rank" if len(off) == 1 else f"on {_ranks([r for r in off if r != rank])}, too"
    good = f"something is wrong with it {others}; the gradients of the inputs are right, on every rank"
    return Finding((f"the weight's gradient on rank {rank} {off[rank]}", good))


def _left_wrongly(each: dict) -> str:
    for number, wanted in enumerate(each["inputs_grad"]):
        if number not in each["left"]:
            return f"hands on no gradient of micro-batch {number}'s input"
        found = each["left"][number]
        if _difference(found, wanted) > CLOSE:
            same = [n for n, other in enumerate(each["inputs_grad"]) if _difference(found, other) <= CLOSE]
            factor = factor_of({"": found}, {"": wanted})
            times = f": it is {factor:.2f} × serial's" if factor else "" if found.any() else ": it is zero"
            why = f": it is micro-batch {same[0]}'s" if same else times
            return f"hands on a gradient of micro-batch {number}'s input that is not serial's{why}"
    return ""


def _weight_wrongly(each: dict) -> str:
    """Describe how the weight's gradient differs from serial's; "" if it is right."""
    xs, gs = np.stack(each["inputs"]), np.stack(each["outputs_grad"])
    alone = [g.T @ x for g, x in zip(gs, xs, strict=True)]
    serial, found = sum(alone), each["weight"]
    if found is None or not found.any():
        return "is zero: no W has run"
    if _difference(found, serial) <= CLOSE:
        return ""
    for number, part in enumerate(alone):
        if factor := factor_of({"": found}, {"": part}):
            return f"is {factor:.2f} × what micro-batch {number} alone gives: nothing of the others is in it"
        if _difference(found, serial - part) <= CLOSE:
            return f"lacks what micro-batch {number} adds"
    for number in range(len(alone)):
        if _difference(found, gs.sum(0).T @ xs[number]) <= CLOSE:
            return f"is what comes out if every W takes the input of micro-batch {number}"
        if _difference(found, gs[number].T @ xs.sum(0)) <= CLOSE:
            return f"is what comes out if every W takes the gradient of micro-batch {number}"
    if _difference(found, serial.T) <= CLOSE:
        return "is serial's, transposed"
    factor = factor_of({"": found}, {"": serial})
    return (
        f"is {factor:.2f} × serial's" if factor else f"differs from serial by {_difference(found, serial):.2g} relative"
    )


# ---------------------------------------------------------------------- my_tied
def examine_tied(ranks: Ranks, function: Callable | str) -> Finding | None:
    """Examine the reader's `my_tied(stage)`: both copies of the tied weight have the sum, nothing else changes."""
    results = ranks.run(on_ranks.tied, function)
    names = {0: "tokens.weight", len(results) - 1: "head.weight"}
    for rank, each in enumerate(results):
        others = {name: gradient for name, gradient in each["own"].items() if name != names.get(rank)}
        for name, before in others.items():
            if not np.array_equal(each["found"].get(name, np.nan), before):
                changed = f"the gradient of {name} on rank {rank} has changed"
                return Finding((f"{changed}, and only the tied weight is on two ranks",))
    found = {rank: results[rank]["found"].get(name) for rank, name in names.items()}
    said = {rank: _tied_wrongly(found[rank], results[0]["parts"], rank == 0) for rank in names}
    wrong = [f"{names[rank]} on rank {rank} {why}" for rank, why in said.items() if why]
    if not wrong:
        return None
    return Finding((*wrong, *_drift([found[rank] for rank in names])))


def _tied_wrongly(found: np.ndarray | None, parts: Sequence[np.ndarray], first: bool) -> str:
    if found is None:
        return "has no gradient any more"
    total, own, other = parts[0] + parts[1], parts[0 if first else 1], parts[1 if first else 0]
    here, there = ("embedding", "logits") if first else ("logits", "embedding")
    if _difference(found, total) <= CLOSE:
        return ""
    if _difference(found, own) <= CLOSE:
        return f"has only its own part of the gradient, that of the {here}: the part of the {there} is missing"
    if _difference(found, other) <= CLOSE:
        return f"has only the other part of the gradient, that of the {there}: its own is lost"
    factor = factor_of({"": found}, {"": total})
    return f"has {factor:.2f} × serial's gradient" if factor else "has a gradient that is no sum of the two parts"


def _drift(found: Sequence[np.ndarray | None]) -> Iterator[str]:
    """Yield a sentence on how far one SGD update moves the two copies apart."""
    if any(each is None for each in found):
        return
    apart = LEARNING_RATE * float(np.abs(found[0] - found[1]).max())
    if apart > CLOSE:
        yield f"after one update with learning rate {LEARNING_RATE} the two copies differ by up to {apart:.2g}"


# ---------------------------------------------------------------------- all of them
def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference relative to the largest element; inf if that is not finite."""
    largest = float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0))
    return largest if isfinite(largest) else inf


def _ranks(numbers: Sequence[int]) -> str:
    return ("rank " if len(numbers) == 1 else "ranks ") + ", ".join(map(str, numbers))
